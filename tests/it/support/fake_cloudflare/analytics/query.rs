//! The part of GraphQL's query language that analytics queries use: one query, variables, aliases,
//! arguments, nested selections. No fragments, directives or mutations.
//!
//! Invariant: a parsed query contains only values. A variable that is undeclared, of an unknown type or missing is an error,
//! as on the live service.

use serde_json::{Map, Value};

/// How deep selections and values may nest; ours has four levels.
const DEPTH_MAX: usize = 16;
/// Names of scalars that variables may have.
const SCALARS: [&str; 4] = ["string", "String", "Time", "Date"];

/// One selected field.
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
    let mut parser = Parser { tokens: tokens(text)?, at: 0, given: variables, declared: Vec::new() };
    parser.operation()
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Mark(char),
    Name(String),
    Literal(Value),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ',' => 1,
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '{' | '}' | '(' | ')' | '[' | ']' | ':' | '!' | '$' => {
                tokens.push(Token::Mark(first));
                1
            }
            _ => {
                let length = word_length(rest);
                tokens.push(word(&rest[..length])?);
                length
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// A quoted text, or the longest run of characters of names and numbers; at least one character.
fn word_length(rest: &str) -> usize {
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return end.map_or(rest.len(), |end| end + 2);
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+')));
    let first = rest.chars().next().map_or(0, char::len_utf8);
    end.unwrap_or(rest.len()).max(first)
}

/// Texts and numbers are written as in JSON.
fn word(word: &str) -> Result<Token, String> {
    let is_name = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !word.starts_with(|c: char| c.is_ascii_digit());
    if is_name {
        return Ok(Token::Name(word.to_owned()));
    }
    serde_json::from_str(word).map(Token::Literal).map_err(|_| format!("syntax error at {word}"))
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    given: &'a Value,
    declared: Vec<String>,
}

impl Parser<'_> {
    fn operation(&mut self) -> Result<Vec<Field>, String> {
        if self.peek() != Some(&Token::Mark('{')) {
            if self.name()? != "query" {
                return Err("only queries are supported".to_owned());
            }
            if matches!(self.peek(), Some(Token::Name(_))) {
                self.at += 1;
            }
            if self.skip('(') {
                self.declarations()?;
            }
        }
        let fields = self.selections(DEPTH_MAX)?;
        if self.peek().is_some() { Err("syntax error after the query".to_owned()) } else { Ok(fields) }
    }

    fn declarations(&mut self) -> Result<(), String> {
        while !self.skip(')') {
            self.expect('$')?;
            let name = self.name()?;
            self.expect(':')?;
            let is_list = self.skip('[');
            let scalar = self.name()?;
            if !SCALARS.contains(&&*scalar) {
                return Err(format!("unknown type {scalar} of ${name}"));
            }
            if is_list {
                self.skip('!');
                self.expect(']')?;
            }
            if self.given[&name].is_array() != is_list && !self.given[&name].is_null() {
                return Err(format!("variable ${name} has another type"));
            }
            if self.skip('!') && self.given[&name].is_null() {
                return Err(format!("variable ${name} is required"));
            }
            self.declared.push(name);
        }
        Ok(())
    }

    fn selections(&mut self, depth: usize) -> Result<Vec<Field>, String> {
        let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
        self.expect('{')?;
        let mut fields = Vec::new();
        while !self.skip('}') {
            fields.push(self.field(depth)?);
        }
        if fields.is_empty() { Err("object field must have selections".to_owned()) } else { Ok(fields) }
    }

    fn field(&mut self, depth: usize) -> Result<Field, String> {
        let alias = self.name()?;
        let name = if self.skip(':') { self.name()? } else { alias.clone() };
        let arguments = if self.skip('(') { self.members(')', depth)? } else { Map::new() };
        let nested = self.peek() == Some(&Token::Mark('{'));
        let selections = if nested { self.selections(depth)? } else { Vec::new() };
        Ok(Field { alias, name, arguments, selections })
    }

    /// `name: value` pairs up to `end`.
    fn members(&mut self, end: char, depth: usize) -> Result<Map<String, Value>, String> {
        let mut members = Map::new();
        while !self.skip(end) {
            let name = self.name()?;
            self.expect(':')?;
            members.insert(name, self.value(depth)?);
        }
        Ok(members)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
        if self.skip('{') {
            return Ok(Value::Object(self.members('}', depth)?));
        }
        if self.skip('[') {
            let mut values = Vec::new();
            while !self.skip(']') {
                values.push(self.value(depth)?);
            }
            return Ok(Value::Array(values));
        }
        if self.skip('$') {
            let name = self.name()?;
            let known = self.declared.contains(&name);
            return if known {
                Ok(self.given[&name].clone())
            } else {
                Err(format!("unknown variable ${name}"))
            };
        }
        match self.next()? {
            Token::Literal(value) => Ok(value),
            // An enum value. Only these three have a meaning here.
            Token::Name(name) => Ok(serde_json::from_str(&name).unwrap_or(Value::String(name))),
            Token::Mark(mark) => Err(format!("syntax error at {mark}")),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Name(name) => Ok(name),
            other => Err(format!("syntax error: a name is expected, not {other:?}")),
        }
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        if self.skip(mark) { Ok(()) } else { Err(format!("syntax error: {mark} is expected")) }
    }

    fn skip(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.peek().cloned().ok_or("syntax error at the end")?;
        self.at += 1;
        Ok(token)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }
}
