//! The lines of a CSV file as Python's `csv` module writes them: fields between commas, quoted where they have to be.
//!
//! The library has no CSV crate: a server that links it would carry one for a command that runs once. What is read
//! here was written by one program, so it is read strictly: a quote that Python would not have written is refused.

use std::borrow::Cow;

/// No export of v1.0.3 has as many columns; a line with more is something else.
const FIELDS_MAX: usize = 64;

/// The records of a text, one at a time.
pub(super) struct Records<'t> {
    rest: &'t str,
    /// The number of the line that the next record begins with, from 1.
    line: usize,
}

/// One record, and the number of the line that it begins with.
pub(super) struct Record<'t> {
    pub line: usize,
    pub fields: Vec<Cow<'t, str>>,
}

impl Record<'_> {
    /// Whether it has nothing in it, as the line before the summary.
    pub fn is_blank(&self) -> bool {
        matches!(self.fields.as_slice(), [only] if only.is_empty())
    }
}

impl<'t> Records<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { rest: text, line: 1 }
    }

    /// A field up to the comma or the end of its line, which is left.
    fn field(&mut self) -> Result<Cow<'t, str>, &'static str> {
        if let Some(quoted) = self.rest.strip_prefix('"') {
            self.rest = quoted;
            return self.quoted_field();
        }
        let end = self.rest.find([',', '\r', '\n']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        if field.contains('"') {
            return Err("a quote stands in a field that does not begin with one");
        }
        self.rest = rest;
        Ok(Cow::Borrowed(field))
    }

    /// A field whose first quote was taken. Two quotes in it stand for one.
    fn quoted_field(&mut self) -> Result<Cow<'t, str>, &'static str> {
        let mut field = Cow::Borrowed("");
        loop {
            let (part, rest) = self.rest.split_once('"').ok_or("a quote is not closed")?;
            self.line += part.matches('\n').count();
            field += part;
            let Some(rest_of_field) = rest.strip_prefix('"') else {
                self.rest = rest;
                return Ok(field);
            };
            field += "\"";
            self.rest = rest_of_field;
        }
    }

    fn record(&mut self) -> Result<Vec<Cow<'t, str>>, &'static str> {
        let mut fields = Vec::new();
        loop {
            fields.push(self.field()?);
            if let Some(next) = self.rest.strip_prefix(',') {
                if fields.len() == FIELDS_MAX {
                    return Err("it has too many fields");
                }
                self.rest = next;
                continue;
            }
            let line_end = ["\r\n", "\n"].iter().find_map(|end| self.rest.strip_prefix(end));
            self.rest = match line_end {
                Some(next) => next,
                None if self.rest.is_empty() => self.rest,
                None => return Err("something stands between a field and the comma after it"),
            };
            return Ok(fields);
        }
    }
}

impl<'t> Iterator for Records<'t> {
    type Item = Result<Record<'t>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let record = self.record();
        self.line += 1;
        if record.is_err() {
            self.rest = ""; // where the next record begins is not known
        }
        let record = record.map(|fields| Record { line, fields });
        Some(record.map_err(|reason| format!("line {line}: {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
        Records::new(text)
            .map(|record| {
                let record = record?;
                Ok((record.line, record.fields.into_iter().map(Cow::into_owned).collect()))
            })
            .collect()
    }

    fn record(line: usize, fields: &[&str]) -> (usize, Vec<String>) {
        (line, fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn what_python_writes_is_read_with_either_line_end() {
        let expected = Ok(vec![
            record(1, &["a", "b"]),
            record(2, &["", ""]),
            record(3, &[""]),
            record(4, &["one, \"two\"\nthree", "4"]),
            record(6, &["end"]),
        ]);
        let text = "a,b\n,\n\n\"one, \"\"two\"\"\nthree\",4\nend";
        assert_eq!(parse(text), expected);
        assert_eq!(parse(&format!("{text}\n")), expected);
        let with_returns = text.replace('\n', "\r\n").replace("\"\"\r\n", "\"\"\n");
        assert_eq!(parse(&with_returns), expected);
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn what_python_would_not_write_is_refused_with_its_line() {
        for (text, expected) in [
            ("a\nb\"c\n", "line 2: a quote stands in a field that does not begin with one"),
            ("a\n\"b\nc", "line 2: a quote is not closed"),
            ("\"a\"b,c\n", "line 1: something stands between a field and the comma after it"),
            ("a\rb\n", "line 1: something stands between a field and the comma after it"),
            (&",".repeat(FIELDS_MAX), "line 1: it has too many fields"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text:?}");
        }
        assert!(parse(&",".repeat(FIELDS_MAX - 1)).is_ok());
    }
}
