-- A small shop: who buys, what there is, what was ordered. The same numbers come out each time.

CREATE TABLE customers (
  id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name     text NOT NULL,
  email    text NOT NULL UNIQUE,
  city     text NOT NULL,
  since    date NOT NULL,
  visits   integer NOT NULL DEFAULT 0
);

CREATE TABLE products (
  id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name     text NOT NULL,
  category text NOT NULL,
  price    numeric(8, 2) NOT NULL CHECK (price > 0),
  stock    integer NOT NULL CHECK (stock >= 0)
);

CREATE TABLE orders (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer integer NOT NULL REFERENCES customers,
  placed   timestamptz NOT NULL DEFAULT now(),
  status   text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'paid', 'sent'))
);

CREATE TABLE order_items (
  "order"  bigint NOT NULL REFERENCES orders,
  line     integer NOT NULL,
  product  integer NOT NULL REFERENCES products,
  quantity integer NOT NULL CHECK (quantity > 0),
  price    numeric(8, 2) NOT NULL,
  PRIMARY KEY ("order", line)
);

INSERT INTO customers (name, email, city, since)
SELECT first || ' ' || last,
       lower(first || '.' || last) || n || '@example.com',
       (ARRAY['Aachen', 'Bergen', 'Cádiz', 'Delft', 'Espoo', 'Faro', 'Gdańsk'])[n % 7 + 1],
       date '2020-01-01' + n % 1500
FROM generate_series(1, 1000) n,
     LATERAL (SELECT (ARRAY['Ada', 'Björn', 'Chiara', 'Dmitri', 'Elif', 'Femke', 'Goran', 'Hana', 'Ines', 'Jun'])[n % 10 + 1],
                     (ARRAY['Alder', 'Brook', 'Croft', 'Dale', 'Ford', 'Grove', 'Heath', 'Isle', 'Lake', 'Marsh', 'Weir'])[n % 11 + 1]
             ) names (first, last);

INSERT INTO products (name, category, price, stock)
SELECT (ARRAY['Oak', 'Steel', 'Linen', 'Clay', 'Glass', 'Wool', 'Brass'])[n % 7 + 1] || ' ' ||
       (ARRAY['lamp', 'chair', 'bowl', 'blanket', 'kettle', 'shelf', 'vase', 'mirror'])[n % 8 + 1] || ' no. ' || n,
       (ARRAY['kitchen', 'living', 'sleeping', 'garden', 'office'])[n % 5 + 1],
       round((5 + n * 37 % 240 + n % 4 * 0.25)::numeric, 2),
       200 + n % 300
FROM generate_series(1, 500) n;

INSERT INTO orders (customer, placed, status)
SELECT n * 7919 % 1000 + 1,
       now() - make_interval(hours => 5000 - n),
       CASE WHEN n < 4500 THEN 'sent' WHEN n < 4900 THEN 'paid' ELSE 'placed' END
FROM generate_series(1, 5000) n;

INSERT INTO order_items ("order", line, product, quantity, price)
SELECT o.id, line, p.id, (o.id + line) % 4 + 1, p.price
FROM orders o, generate_series(1, 5) line
JOIN products p ON true
WHERE line <= o.id % 5 + 1 AND p.id = (o.id * 31 + line * 97) % 500 + 1;

CREATE INDEX ON products (category, price);
CREATE INDEX ON orders (customer, placed DESC);
CREATE INDEX ON order_items (product);

CREATE ROLE shop LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop;
