//! What one visitor of the shop does, in SQL: prepared and unprepared, one statement and many, reading and writing.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement};

/// Rows that `schema.sql` makes.
const CUSTOMERS: u64 = 1000;
const PRODUCTS: u64 = 500;
const CATEGORIES: [&str; 5] = ["kitchen", "living", "sleeping", "garden", "office"];
const THINGS: [&str; 8] = ["lamp", "chair", "bowl", "blanket", "kettle", "shelf", "vase", "mirror"];

/// The kinds of visit, in the order of [`Kind::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Browse,
    Search,
    CustomerPage,
    Checkout,
    WishList,
    Report,
    Stocktaking,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Browse,
        Self::Search,
        Self::CustomerPage,
        Self::Checkout,
        Self::WishList,
        Self::Report,
        Self::Stocktaking,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Browse => "browse",
            Self::Search => "search",
            Self::CustomerPage => "customer page",
            Self::Checkout => "checkout",
            Self::WishList => "wish list",
            Self::Report => "report",
            Self::Stocktaking => "stocktaking",
        }
    }

    pub(super) fn is_what(self) -> &'static str {
        match self {
            Self::Browse => "1 prepared query",
            Self::Search => "1 simple query",
            Self::CustomerPage => "3 queries sent at once, 1 update",
            Self::Checkout => "a transaction of 6 to 14 statements",
            Self::WishList => "16 queries one after the other: N+1, planted",
            Self::Report => "1 aggregate over all orders",
            Self::Stocktaking => "1 query that misses its index, planted",
        }
    }

    /// Of 2000 visits 950 browse, 300 search, 480 look at a customer, 230 buy, 30 go through a wish list, 6 are the
    /// owner's, and 4 take stock.
    fn drawn(dice: &mut Dice) -> Self {
        match dice.below(2000) {
            0..950 => Self::Browse,
            950..1250 => Self::Search,
            1250..1730 => Self::CustomerPage,
            1730..1960 => Self::Checkout,
            1960..1990 => Self::WishList,
            1990..1996 => Self::Report,
            _ => Self::Stocktaking,
        }
    }
}

/// One client of the shop, with what it prepared.
#[derive(Debug)]
pub(super) struct Visitor {
    client: Client,
    dice: Dice,
    by_category: Statement,
    customer: Statement,
    orders: Statement,
    price: Statement,
    take: Statement,
}

impl Visitor {
    pub(super) async fn new(client: Client, dice: Dice) -> Result<Self, Error> {
        let by_category =
            client.prepare("SELECT id, name, price FROM products WHERE category = $1 ORDER BY price LIMIT 20").await?;
        let customer = client.prepare("SELECT name, email, city, since FROM customers WHERE id = $1").await?;
        let orders = client
            .prepare(
                "SELECT o.id, o.status, sum(i.quantity * i.price)::float8 FROM orders o \
                 JOIN order_items i ON i.\"order\" = o.id WHERE o.customer = $1 \
                 GROUP BY o.id ORDER BY o.placed DESC LIMIT 10",
            )
            .await?;
        let price = client.prepare("SELECT price::float8, stock FROM products WHERE id = $1").await?;
        // What is sold out is filled up, or the shop would stand empty after some minutes.
        let take = client
            .prepare(
                "UPDATE products SET stock = CASE WHEN stock < $2 THEN stock + 500 ELSE stock - $2 END WHERE id = $1",
            )
            .await?;
        Ok(Self { client, dice, by_category, customer, orders, price, take })
    }

    /// The pause before the next visit, in milliseconds.
    pub(super) fn thinks_for(&mut self) -> u64 {
        100 + self.dice.below(400)
    }

    pub(super) fn chooses(&mut self) -> Kind {
        Kind::drawn(&mut self.dice)
    }

    /// One visit, to its end.
    pub(super) async fn visits(&mut self, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::Browse => self.browses().await,
            Kind::Search => self.searches().await,
            Kind::CustomerPage => self.opens_customer_page().await,
            Kind::Checkout => self.checks_out().await,
            Kind::WishList => self.opens_wish_list().await,
            Kind::Report => self.asks_for_report().await,
            Kind::Stocktaking => self.takes_stock().await,
        }
    }

    async fn browses(&mut self) -> Result<(), Error> {
        let category = self.dice.of(&CATEGORIES);
        self.client.query(&self.by_category, &[&category]).await.map(drop)
    }

    async fn searches(&mut self) -> Result<(), Error> {
        let (thing, most) = (self.dice.of(&THINGS), 20 + self.dice.below(200));
        let sql =
            format!("SELECT id, name, price FROM products WHERE name LIKE '%{thing}%' AND price < {most} LIMIT 10");
        self.client.simple_query(&sql).await.map(drop)
    }

    async fn opens_customer_page(&mut self) -> Result<(), Error> {
        let id: &(dyn ToSql + Sync) = &self.draws(CUSTOMERS);
        let (whose, typed) = ([id], [(id, Type::INT4)]);
        // Polled together, they leave in one go and their answers are taken as they come; the last one without a
        // name, as Parse, Bind and Execute of the unnamed statement.
        tokio::try_join!(
            self.client.query_one(&self.customer, &whose),
            self.client.query(&self.orders, &whose),
            self.client.query_typed("SELECT count(*) FROM orders WHERE customer = $1", &typed),
        )?;
        self.client.execute("UPDATE customers SET visits = visits + 1 WHERE id = $1", &whose).await.map(drop)
    }

    async fn checks_out(&mut self) -> Result<(), Error> {
        let customer = self.draws(CUSTOMERS);
        let lines = 1 + self.dice.below(5);
        let mut products: Vec<i32> = (0..lines).map(|_| self.draws(PRODUCTS)).collect();
        // Rows are locked in one order by everybody, so that nobody waits in a circle.
        products.sort_unstable();
        products.dedup();
        let transaction = self.client.transaction().await?;
        let sql = "INSERT INTO orders (customer) VALUES ($1) RETURNING id";
        let order: i64 = transaction.query_one(sql, &[&customer]).await?.get(0);
        for (line, product) in (1_i32..).zip(&products) {
            let price: f64 = transaction.query_one(&self.price, &[product]).await?.get(0);
            transaction.execute(&self.take, &[product, &1_i32]).await?;
            let sql = "INSERT INTO order_items (\"order\", line, product, quantity, price) \
                       VALUES ($1, $2, $3, 1, $4::float8::numeric)";
            transaction.execute(sql, &[&order, &line, product, &price]).await?;
        }
        transaction.commit().await
    }

    /// As an application does that leaves joins to a loop. Planted for the report to find.
    async fn opens_wish_list(&mut self) -> Result<(), Error> {
        let category = self.dice.of(&CATEGORIES);
        let sql = "SELECT id FROM products WHERE category = $1 ORDER BY price DESC LIMIT 15";
        let wishes = self.client.query_typed(sql, &[(&category, Type::TEXT)]).await?;
        for wish in wishes {
            let id: i32 = wish.get(0);
            let sql = "SELECT name, price, stock FROM products WHERE id = $1";
            self.client.query_typed(sql, &[(&id, Type::INT4)]).await?;
        }
        Ok(())
    }

    /// The sum keeps PostgreSQL from using the index on products. Planted for the report to find.
    async fn takes_stock(&mut self) -> Result<(), Error> {
        let category = self.dice.of(&CATEGORIES);
        let sql = "SELECT p.name, (SELECT sum(i.quantity) FROM order_items i WHERE i.product + 0 = p.id) AS sold \
                   FROM products p WHERE p.category = $1 ORDER BY sold DESC";
        self.client.query_typed(sql, &[(&category, Type::TEXT)]).await.map(drop)
    }

    async fn asks_for_report(&mut self) -> Result<(), Error> {
        let sql = "SELECT p.category, count(DISTINCT o.customer), sum(i.quantity * i.price) \
                   FROM orders o JOIN order_items i ON i.\"order\" = o.id JOIN products p ON p.id = i.product \
                   GROUP BY p.category ORDER BY 3 DESC";
        self.client.simple_query(sql).await.map(drop)
    }

    /// A number that a row has: 1 to `rows`.
    fn draws(&mut self, rows: u64) -> i32 {
        i32::try_from(1 + self.dice.below(rows)).unwrap_or(1)
    }
}

/// Numbers that look drawn by chance, the same for the same seed (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to `limit` − 1; 0 where there is no such number.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(limit).unwrap_or(0)
    }

    fn of(&mut self, choice: &[&'static str]) -> &'static str {
        let index = self.below(u64::try_from(choice.len()).unwrap_or(0));
        usize::try_from(index).ok().and_then(|index| choice.get(index)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_visit_is_drawn_and_browsing_most_of_all() {
        let mut dice = Dice::new(7);
        let mut counts = [0_u32; 7];
        for _ in 0..20_000 {
            let kind = Kind::drawn(&mut dice);
            let index = Kind::ALL.iter().position(|known| *known == kind).expect("a known kind");
            counts[index] += 1;
        }
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        assert_eq!(counts.iter().max(), Some(&counts[0]));
    }

    #[test]
    fn dice_stay_below_their_limit() {
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| dice.below(6) < 6));
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.of(&["one"]), "one");
        assert_eq!(dice.of(&[]), "");
    }
}
