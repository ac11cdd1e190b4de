//! The part of GraphQL's query language that analytics queries use: one query, variables, aliases,
//! arguments, nested selections. No fragments, directives, mutations, texts or comments.
//!
//! Invariant: a parsed query contains only values. A variable that is undeclared, of an unknown type or missing is an error,
//! as on the live service.

use serde_json::{Map, Value};

/// Names of scalars that variables may have.
const SCALARS: [&str; 4] = ["string", "String", "Time", "Date"];

#[derive(Debug)]
pub(super) struct Field {
    /// The name in the response: the alias, else the field's own.
    pub(super) alias: String,
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    /// Empty for a scalar.
    pub(super) selections: Vec<Field>,
}

/// Parses a query. The error message is for the client.
pub(super) fn parse(text: &str, variables: &Value) -> Result<Vec<Field>, String> {
    let mut parser = Parser { tokens: tokens(text), at: 0, given: variables, declared: Vec::new() };
    parser.operation()
}

fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Words, and every other character. Commas and spaces have no meaning.
fn tokens(text: &str) -> Vec<&str> {
    let parts = text.split_inclusive(|character| !is_of_word(character));
    let tokens = parts.flat_map(|part| {
        let (word, mark) = part.split_at(part.find(|character| !is_of_word(character)).unwrap_or(part.len()));
        [word, mark.trim()]
    });
    tokens.filter(|token| !matches!(*token, "" | ",")).collect()
}

struct Parser<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    given: &'a Value,
    declared: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn operation(&mut self) -> Result<Vec<Field>, String> {
        self.expect("query")?;
        self.name()?;
        self.expect("(")?;
        self.declarations()?;
        let fields = self.selections()?;
        if self.peek().is_some() { Err("syntax error after the query".to_owned()) } else { Ok(fields) }
    }

    fn declarations(&mut self) -> Result<(), String> {
        while !self.skip(")") {
            self.expect("$")?;
            let name = self.name()?;
            self.expect(":")?;
            let is_list = self.skip("[");
            let scalar = self.name()?;
            if !SCALARS.contains(&scalar) {
                return Err(format!("unknown type {scalar} of ${name}"));
            }
            if is_list {
                self.skip("!");
                self.expect("]")?;
            }
            if self.given[name].is_array() != is_list && !self.given[name].is_null() {
                return Err(format!("variable ${name} has another type"));
            }
            if self.skip("!") && self.given[name].is_null() {
                return Err(format!("variable ${name} is required"));
            }
            self.declared.push(name);
        }
        Ok(())
    }

    fn selections(&mut self) -> Result<Vec<Field>, String> {
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.skip("}") {
            fields.push(self.field()?);
        }
        if fields.is_empty() { Err("object field must have selections".to_owned()) } else { Ok(fields) }
    }

    fn field(&mut self) -> Result<Field, String> {
        let alias = self.name()?;
        let name = if self.skip(":") { self.name()? } else { alias };
        let arguments = if self.skip("(") { self.members(")")? } else { Map::new() };
        let selections = if self.peek() == Some("{") { self.selections()? } else { Vec::new() };
        Ok(Field { alias: alias.to_owned(), name: name.to_owned(), arguments, selections })
    }

    /// `name: value` pairs up to `end`.
    fn members(&mut self, end: &str) -> Result<Map<String, Value>, String> {
        let mut members = Map::new();
        while !self.skip(end) {
            let name = self.name()?;
            self.expect(":")?;
            members.insert(name.to_owned(), self.value()?);
        }
        Ok(members)
    }

    /// An object, a list, a variable, a number, or the name of a member of an enum.
    fn value(&mut self) -> Result<Value, String> {
        if self.skip("{") {
            return Ok(Value::Object(self.members("}")?));
        }
        if self.skip("[") {
            let mut values = Vec::new();
            while !self.skip("]") {
                values.push(self.value()?);
            }
            return Ok(Value::Array(values));
        }
        if self.skip("$") {
            let name = self.name()?;
            let is_known = self.declared.contains(&name);
            return is_known
                .then(|| self.given[name].clone())
                .ok_or_else(|| format!("unknown variable ${name}"));
        }
        let word = self.name()?;
        Ok(word.parse::<u64>().map_or_else(|_| word.into(), Value::from))
    }

    fn name(&mut self) -> Result<&'a str, String> {
        let token = self.peek().ok_or("syntax error at the end")?;
        self.at += 1;
        if token.chars().all(is_of_word) { Ok(token) } else { Err(format!("syntax error at {token}")) }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.skip(token) { Ok(()) } else { Err(format!("syntax error: {token} is expected")) }
    }

    fn skip(&mut self, token: &str) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }
}
