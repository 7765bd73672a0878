//! The clients that keep JSON: Claude Desktop, Claude Code, Cursor, VS Code, Zed.

use crate::doctor::jsonc::{self, Member, Node, Value};
use crate::doctor::server::{Arguments, Kind, Launch, Literal, Room, Server, SyntaxError};

/// Keys whose value, from the top of the document, lists servers by their names.
const LISTS: [&[&str]; 5] = [
    &["mcpServers"],      // Claude Desktop, Claude Code, Cursor
    &["servers"],         // VS Code, mcp.json
    &["mcp", "servers"],  // VS Code, settings.json
    &["mcp.servers"],     // the same in one key
    &["context_servers"], // Zed
];

pub fn servers(text: &str) -> Result<Vec<Server>, SyntaxError> {
    let document = jsonc::parse(text)?;
    let Value::Object(members) = &document.value else {
        return Err(SyntaxError::at(text, document.span.start, "the document is not an object in braces"));
    };
    let reader = Reader { text };
    let mut servers = Vec::new();
    for path in LISTS {
        reader.list(members, path, None, &mut servers)?;
    }
    if let Some(projects) = reader.only(members, "projects")? // Claude Code
        && let Value::Object(projects) = &projects.node.value
    {
        for project in projects {
            if let Value::Object(members) = &project.node.value {
                reader.list(members, &["mcpServers"], Some(&project.key), &mut servers)?;
            }
        }
    }
    Ok(servers)
}

struct Reader<'t> {
    text: &'t str,
}

impl Reader<'_> {
    fn list(
        &self,
        members: &[Member],
        path: &[&str],
        project: Option<&str>,
        found: &mut Vec<Server>,
    ) -> Result<(), SyntaxError> {
        let [key, deeper @ ..] = path else { return Ok(()) };
        let Some(list) = self.only(members, key)? else { return Ok(()) };
        let Value::Object(entries) = &list.node.value else {
            let is_ours = deeper.is_empty() && matches!(list.node.value, Value::Array(_) | Value::String(_));
            let reason = format!("\"{key}\" is not an object in braces");
            return if is_ours { Err(self.error(&list.node, reason)) } else { Ok(()) };
        };
        if !deeper.is_empty() {
            return self.list(entries, deeper, project, found);
        }
        for (at, entry) in entries.iter().enumerate() {
            let is_twice =
                entries.iter().enumerate().any(|(other, twin)| other != at && twin.key == entry.key);
            let kind = if is_twice {
                Kind::Malformed("a server of that name is there twice; keep one of them".to_owned())
            } else {
                self.kind(&entry.node).unwrap_or_else(Kind::Malformed)
            };
            found.push(Server { name: entry.key.clone(), project: project.map(str::to_owned), kind });
        }
        Ok(())
    }

    fn error(&self, node: &Node, reason: String) -> SyntaxError {
        SyntaxError::at(self.text, node.span.start, reason)
    }

    /// The member of that name. Of two, programs disagree which one holds.
    fn only<'m>(&self, members: &'m [Member], key: &str) -> Result<Option<&'m Member>, SyntaxError> {
        let mut found = members.iter().filter(|member| member.key == key);
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(second) => {
                let reason = format!("the key \"{key}\" is there twice; keep one of them");
                Err(SyntaxError::at(self.text, second.key_span.start, reason))
            }
        }
    }

    fn kind(&self, entry: &Node) -> Result<Kind, String> {
        let Value::Object(members) = &entry.value else {
            return Err("it is not an object in braces".to_owned());
        };
        let member = |key| self.only(members, key).map_err(|e| e.to_string());
        let Some(command) = member("command")? else {
            let has = |keys: &[&str]| members.iter().any(|member| keys.contains(&member.key.as_str()));
            return if has(&["url", "serverUrl", "httpUrl"]) {
                Ok(Kind::Remote)
            } else if has(&["settings", "source"]) || members.is_empty() {
                Ok(Kind::Extension) // Zed
            } else {
                Err("it has neither a command nor a url".to_owned())
            };
        };
        match &command.node.value {
            Value::String(_) => self.launch(command, member("args")?),
            Value::Object(inner) => {
                // Zed, older: "command": {"path": …, "args": […]}
                let inner_member = |key| self.only(inner, key).map_err(|e| e.to_string());
                let path = inner_member("path")?.ok_or("its command has no path")?;
                self.launch(path, inner_member("args")?)
            }
            _ => Err("its command is not a string".to_owned()),
        }
    }

    fn launch(&self, command: &Member, args: Option<&Member>) -> Result<Kind, String> {
        let literal = literal(&command.node, None).ok_or("its command is not a string")?;
        let arguments = args.map(|member| arguments(&member.node)).transpose()?;
        let room = self.room(command);
        Ok(Kind::Stdio(Launch { command: literal, arguments, room }))
    }

    /// Behind the command, set as the command itself is.
    fn room(&self, command: &Member) -> Room {
        let before = &self.text[..command.key_span.start];
        let gap = &before[before.trim_end_matches([' ', '\t', '\r', '\n']).len()..];
        let colon = &self.text[command.key_span.end..command.node.span.start];
        let colon = if colon.trim_matches([' ', '\t']) == ":" { colon } else { ": " };
        let gap = if gap.is_empty() && colon != ":" { " " } else { gap };
        Room { at: command.node.span.end, lead: format!(",{gap}\"args\"{colon}") }
    }
}

fn arguments(node: &Node) -> Result<Arguments, String> {
    let Value::Array(elements) = &node.value else {
        return Err("its args are not a list in brackets".to_owned());
    };
    let items = elements.iter().map(|element| literal(&element.node, element.comma_end));
    let items: Option<Vec<Literal>> = items.collect();
    Ok(Arguments { span: node.span.clone(), items: items.ok_or("one of its args is not a string")? })
}

fn literal(node: &Node, comma_end: Option<usize>) -> Option<Literal> {
    let Value::String(value) = &node.value else { return None };
    Some(Literal { span: node.span.clone(), value: value.clone(), comma_end })
}
