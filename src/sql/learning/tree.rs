//! The parser's tree in one general form, so that a walk over it misses no kind of node.
//!
//! pg_query gives some three hundred types that share no trait but `Serialize`; this serializer turns them into nodes
//! with names and fields. Fields that are empty, false or zero are left out, as in the protobuf they come from.

use std::fmt;

use serde::ser::{self, Serialize};

/// A value of the parser's tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Nothing,
    /// Integers, enumerations and true.
    Number(i64),
    Text(String),
    List(Vec<Self>),
    Node(Node),
}

/// A node: what the grammar calls it, and what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) name: &'static str,
    fields: Vec<(&'static str, Tree)>,
}

impl Tree {
    pub(super) fn of(value: &impl Serialize) -> Self {
        value.serialize(Planter).unwrap_or(Self::Nothing)
    }

    pub(super) fn node(&self) -> Option<&Node> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Nothing | Self::Number(0) => true,
            Self::Text(text) => text.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Number(_) | Self::Node(_) => false,
        }
    }
}

impl Node {
    /// A field; [`Tree::Nothing`] where it is empty, false or zero.
    pub(super) fn get(&self, field: &str) -> &Tree {
        self.fields.iter().find(|(name, _)| *name == field).map_or(&Tree::Nothing, |(_, tree)| tree)
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &Tree)> {
        self.fields.iter().map(|(name, tree)| (*name, tree))
    }

    pub(super) fn has(&self, field: &str) -> bool {
        *self.get(field) != Tree::Nothing
    }

    pub(super) fn child(&self, field: &str) -> Option<&Self> {
        self.get(field).node()
    }

    pub(super) fn list(&self, field: &str) -> &[Tree] {
        self.get(field).list()
    }

    /// The nodes in a list.
    pub(super) fn nodes(&self, field: &str) -> impl Iterator<Item = &Self> {
        self.list(field).iter().filter_map(Tree::node)
    }

    /// A text; empty where there is none.
    pub(super) fn text(&self, field: &str) -> &str {
        match self.get(field) {
            Tree::Text(text) => text,
            _ => "",
        }
    }

    /// A number or the number of an enumeration's value; 0 where there is none.
    pub(super) fn number(&self, field: &str) -> i64 {
        match self.get(field) {
            Tree::Number(number) => *number,
            _ => 0,
        }
    }

    /// The names in a list of String nodes: `pg_catalog.lower` as written.
    pub(super) fn names(&self, field: &str) -> Vec<&str> {
        self.nodes(field).filter(|node| node.name == "String").map(|node| node.text("sval")).collect()
    }
}

/// Makes a [`Tree`] of whatever can be serialized.
struct Planter;

/// Gathers what a list or a struct holds.
struct Gatherer {
    name: &'static str,
    items: Vec<Tree>,
    fields: Vec<(&'static str, Tree)>,
}

impl Gatherer {
    fn named(name: &'static str) -> Self {
        Self { name, items: Vec::new(), fields: Vec::new() }
    }
}

type Planted = Result<Tree, fmt::Error>;

impl ser::Serializer for Planter {
    type Ok = Tree;
    type Error = fmt::Error;
    type SerializeSeq = Gatherer;
    type SerializeTuple = ser::Impossible<Tree, fmt::Error>;
    type SerializeTupleStruct = ser::Impossible<Tree, fmt::Error>;
    type SerializeTupleVariant = ser::Impossible<Tree, fmt::Error>;
    type SerializeMap = ser::Impossible<Tree, fmt::Error>;
    type SerializeStruct = Gatherer;
    type SerializeStructVariant = ser::Impossible<Tree, fmt::Error>;

    fn serialize_bool(self, value: bool) -> Planted {
        Ok(Tree::Number(value.into()))
    }
    fn serialize_i8(self, value: i8) -> Planted {
        Ok(Tree::Number(value.into()))
    }
    fn serialize_i16(self, value: i16) -> Planted {
        Ok(Tree::Number(value.into()))
    }
    fn serialize_i32(self, value: i32) -> Planted {
        Ok(Tree::Number(value.into()))
    }
    fn serialize_i64(self, value: i64) -> Planted {
        Ok(Tree::Number(value))
    }
    fn serialize_u8(self, value: u8) -> Planted {
        Ok(Tree::Number(value.into()))
    }
    fn serialize_u16(self, value: u16) -> Planted {
        Ok(Tree::Number(value.into()))
    }
    fn serialize_u32(self, value: u32) -> Planted {
        Ok(Tree::Number(value.into()))
    }
    fn serialize_u64(self, value: u64) -> Planted {
        Ok(Tree::Number(value.cast_signed()))
    }
    fn serialize_f32(self, _: f32) -> Planted {
        Ok(Tree::Nothing)
    }
    fn serialize_f64(self, _: f64) -> Planted {
        Ok(Tree::Nothing)
    }
    fn serialize_char(self, value: char) -> Planted {
        Ok(Tree::Text(value.into()))
    }
    fn serialize_str(self, value: &str) -> Planted {
        Ok(Tree::Text(value.to_owned()))
    }
    fn serialize_bytes(self, _: &[u8]) -> Planted {
        Ok(Tree::Nothing)
    }
    fn serialize_none(self) -> Planted {
        Ok(Tree::Nothing)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Planted {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Planted {
        Ok(Tree::Nothing)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Planted {
        Ok(Tree::Nothing)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Planted {
        Ok(Tree::Text(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Planted {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Planted {
        value.serialize(self)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Gatherer, fmt::Error> {
        Ok(Gatherer::named(""))
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, fmt::Error> {
        Err(fmt::Error)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, fmt::Error> {
        Err(fmt::Error)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, fmt::Error> {
        Err(fmt::Error)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, fmt::Error> {
        Err(fmt::Error)
    }
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Gatherer, fmt::Error> {
        Ok(Gatherer::named(name))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, fmt::Error> {
        Err(fmt::Error)
    }
}

impl ser::SerializeSeq for Gatherer {
    type Ok = Tree;
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), fmt::Error> {
        self.items.push(value.serialize(Planter)?);
        Ok(())
    }

    fn end(self) -> Planted {
        Ok(Tree::List(self.items))
    }
}

impl ser::SerializeStruct for Gatherer {
    type Ok = Tree;
    type Error = fmt::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), fmt::Error> {
        let tree = value.serialize(Planter)?;
        if !tree.is_empty() {
            self.fields.push((name, tree));
        }
        Ok(())
    }

    /// A `Node` is nothing but a box around one of all kinds.
    fn end(mut self) -> Planted {
        if self.name == "Node" {
            return Ok(self.fields.pop().map_or(Tree::Nothing, |(_, tree)| tree));
        }
        Ok(Tree::Node(Node { name: self.name, fields: self.fields }))
    }
}
