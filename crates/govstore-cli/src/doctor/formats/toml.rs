//! Codex, which keeps TOML: `[mcp_servers.NAME]` in any of its spellings.

use std::ops::Range;

use toml_edit::{Document, Item, TableLike, Value};

use crate::doctor::server::{Arguments, Kind, Launch, Literal, Room, Server, SyntaxError};

pub fn servers(text: &str) -> Result<Vec<Server>, SyntaxError> {
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let document = Document::parse(&text[bom..]).map_err(|e| {
        let offset = bom + e.span().map_or(0, |span| span.start);
        SyntaxError::at(text, offset, e.message().replace('\n', ", "))
    })?;
    let Some(list) = document.get("mcp_servers") else { return Ok(Vec::new()) };
    let reader = Reader { text, bom };
    let Some(entries) = list.as_table_like() else {
        let start = list.span().map_or(0, |span| span.start);
        return Err(SyntaxError::at(text, bom + start, "\"mcp_servers\" is not a table"));
    };
    let server = |(name, item): (&str, &Item)| {
        let kind = reader.kind(item).unwrap_or_else(Kind::Malformed);
        Server { name: name.to_owned(), project: None, kind }
    };
    Ok(entries.iter().map(server).collect())
}

struct Reader<'t> {
    text: &'t str,
    /// Bytes before the text that was parsed.
    bom: usize,
}

impl Reader<'_> {
    fn kind(&self, item: &Item) -> Result<Kind, String> {
        let table = item.as_table_like().ok_or("it is not a table")?;
        let Some(command) = table.get("command") else {
            let has_url = table.contains_key("url");
            return if has_url {
                Ok(Kind::Remote)
            } else {
                Err("it has neither a command nor a url".to_owned())
            };
        };
        let literal = command.as_value().and_then(|value| self.literal(value, None));
        let literal = literal.ok_or("its command is not a string")?;
        let arguments = table.get("args").map(|args| self.arguments(args)).transpose()?;
        let room = self.room(table, item.is_inline_table(), literal.span.end);
        let room = room.ok_or("its command's place can't be made out")?;
        Ok(Kind::Stdio(Launch { command: literal, arguments, room }))
    }

    /// The place of a span in the whole text.
    fn placed(&self, span: Option<Range<usize>>) -> Option<Range<usize>> {
        span.map(|span| span.start + self.bom..span.end + self.bom)
    }

    fn literal(&self, value: &Value, comma_end: Option<usize>) -> Option<Literal> {
        Some(Literal { span: self.placed(value.span())?, value: value.as_str()?.to_owned(), comma_end })
    }

    fn arguments(&self, item: &Item) -> Result<Arguments, String> {
        let list = item.as_array().ok_or("its args are not a list in brackets")?;
        let span = self.placed(list.span()).ok_or("its args' place can't be made out")?;
        let items = list.iter().map(|value| {
            let end = self.placed(value.span())?.end;
            self.literal(value, self.comma_end(end))
        });
        let items: Option<Vec<Literal>> = items.collect();
        Ok(Arguments { span, items: items.ok_or("one of its args is not a string")? })
    }

    /// The end of the comma behind a value in a list, over white space and comments.
    fn comma_end(&self, mut at: usize) -> Option<usize> {
        loop {
            let rest = &self.text[at..];
            match rest.chars().next()? {
                ',' => return Some(at + 1),
                '#' => at += rest.find('\n')?,
                blank if blank.is_ascii_whitespace() => at += 1,
                _ => return None,
            }
        }
    }

    /// On a line of its own below the command; in an inline table right behind it.
    fn room(&self, table: &dyn TableLike, is_inline: bool, command_end: usize) -> Option<Room> {
        let key_start = self.placed(table.key("command")?.span())?.start;
        if is_inline {
            let before = &self.text[..key_start];
            let prefix = &before[dotted_prefix(before)..];
            return Some(Room { at: command_end, lead: format!(", {prefix}args = ") });
        }
        let line_start = self.text[..key_start].rfind('\n').map_or(self.bom, |newline| newline + 1);
        let prefix = &self.text[line_start..key_start]; // blanks, or the tables of a dotted key
        let rest = &self.text[command_end..];
        let line = rest.split('\n').next().unwrap_or(rest);
        let is_dos = line.ends_with('\r') || (line.len() == rest.len() && self.text.contains("\r\n"));
        let newline = if is_dos { "\r\n" } else { "\n" };
        let at = command_end + line.trim_end_matches('\r').len();
        Some(Room { at, lead: format!("{newline}{prefix}args = ") })
    }
}

/// Where the tables of a dotted key begin that ends this text: at `a . "b".` in `{ a . "b".`
fn dotted_prefix(before: &str) -> usize {
    let mut start = before.len();
    while let Some(tables) = before[..start].trim_end_matches([' ', '\t']).strip_suffix('.') {
        let key = tables.trim_end_matches([' ', '\t']);
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        start = match key.chars().last() {
            Some(quote @ ('"' | '\'')) => key[..key.len() - 1].rfind(quote).unwrap_or(0),
            _ => key.trim_end_matches(is_bare).len(),
        };
    }
    start
}
