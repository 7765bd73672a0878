//! Configurations of MCP servers, made up in all the spellings that their formats allow.
#![expect(clippy::format_push_string, reason = "a text that is put together reads best so")]

type Random = fastrand::Rng;

fn one_of<'a>(random: &mut Random, choices: &[&'a str]) -> &'a str {
    choices[random.usize(..choices.len())]
}

/// White space and comments, as JSON with comments has them anywhere.
fn gap(random: &mut Random) -> String {
    let choices = [
        "",
        "",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\n\n    ",
        "/* , ] \" */",
        " // it's {\n",
        "// untouched\r\n\t",
        " /**/ ",
    ];
    (0..random.usize(..3)).map(|_| one_of(random, &choices)).collect()
}

fn json_string(random: &mut Random) -> &'static str {
    let choices = [
        r#""npx""#,
        r#""-y""#,
        r#""\u006epx""#,
        r#""a\"b\\""#,
        r#""\/x\/\ud83d\ude00""#,
        r#""""#,
        r#""//no /* comment""#,
        r#""ü, ]""#,
        r#""${workspaceFolder}/x""#,
        r#""C:\\x\\server.exe""#,
        r#""\ud800""#,
        r#""--""#,
        r#""run""#,
    ];
    one_of(random, &choices)
}

fn json_list(random: &mut Random) -> String {
    let mut list = format!("[{}", gap(random));
    let number = random.usize(..4);
    for at in 0..number {
        list += &format!("{}{}", json_string(random), gap(random));
        if at + 1 < number || random.bool() {
            list += &format!(",{}", gap(random));
        }
    }
    list + "]"
}

fn json_object(random: &mut Random, members: &[(String, String)]) -> String {
    let mut object = format!("{{{}", gap(random));
    for (at, (key, value)) in members.iter().enumerate() {
        object += &format!("\"{key}\"{}:{}{value}{}", gap(random), gap(random), gap(random));
        if at + 1 < members.len() || random.bool() {
            object += &format!(",{}", gap(random));
        }
    }
    object + "}"
}

/// A list of servers as one of the clients with JSON may have it.
pub fn json_spelling(random: &mut Random) -> String {
    let servers = (0..random.usize(1..4)).map(|number| {
        let mut members = vec![("command".to_owned(), json_string(random).to_owned())];
        if random.bool() {
            members.push(("args".to_owned(), json_list(random)));
        }
        let is_nested = random.u8(..5) == 0;
        if is_nested {
            "path".clone_into(&mut members[0].0);
        }
        if random.bool() {
            members.push(("env".to_owned(), r#"{"command": "no", "args": ["no"]}"#.to_owned()));
        }
        random.shuffle(&mut members);
        let mut server = json_object(random, &members);
        if is_nested {
            server = json_object(random, &[("command".to_owned(), server)]);
        }
        (format!("{number}{}", one_of(random, &["", " ", r"\n", r"\u00fc", "-"])), server)
    });
    let servers: Vec<(String, String)> = servers.collect();
    let list = json_object(random, &servers);
    let document = match random.u8(..4) {
        0 => json_object(random, &[("mcpServers".to_owned(), list)]),
        1 => json_object(
            random,
            &[("x".to_owned(), "[1, {}]".to_owned()), ("context_servers".to_owned(), list)],
        ),
        2 => {
            let mcp = json_object(random, &[("servers".to_owned(), list)]);
            json_object(random, &[("mcp".to_owned(), mcp)])
        }
        _ => {
            let project = json_object(random, &[("mcpServers".to_owned(), list)]);
            let projects = json_object(random, &[("/a/b".to_owned(), project)]);
            json_object(random, &[("projects".to_owned(), projects)])
        }
    };
    format!("{}{}{document}{}", one_of(random, &["", "\u{feff}"]), gap(random), gap(random))
}

fn toml_string(random: &mut Random) -> &'static str {
    let choices = [
        r#""npx""#,
        "'-y'",
        r#""\u006epx""#,
        r#""a\"b\\\t""#,
        "'C:\\x'",
        r#""""#,
        "''",
        r##""# no comment""##,
        "'''a'b'''",
        r#""""quoted "" string""""#,
        r#""ü, ]""#,
        r#""--""#,
        r#""run""#,
    ];
    one_of(random, &choices)
}

fn toml_list(random: &mut Random, newline: &str) -> String {
    let gap = |random: &mut Random| {
        let lines = [
            " ".to_owned(),
            newline.to_owned(),
            format!(" # it's ], {newline}\t"),
            format!("# untouched{newline}"),
        ];
        (0..random.usize(..3)).map(|_| lines[random.usize(..4)].clone()).collect::<String>()
    };
    let mut list = format!("[{}", gap(random));
    let number = random.usize(..4);
    for at in 0..number {
        list += &format!("{}{}", toml_string(random), gap(random));
        if at + 1 < number || random.bool() {
            list += &format!(",{}", gap(random));
        }
    }
    list + "]"
}

/// A list of servers as Codex may have it.
pub fn toml_spelling(random: &mut Random) -> String {
    let newline = one_of(random, &["\n", "\r\n"]);
    let spelling = random.u8(..4);
    let mut text = one_of(random, &["", "\u{feff}"]).to_owned();
    if random.bool() {
        text += &format!("model = \"x\" # untouched{newline}");
    }
    match spelling {
        0 => text += &format!("[mcp_servers]{newline}"),
        1 => text += "mcp_servers = {",
        _ => {}
    }
    let number_of_servers = random.usize(1..4);
    for number in 0..number_of_servers {
        let names = [format!("a{number}"), format!("\"a.{number}\""), format!("'a b{number}'")];
        let name = &names[random.usize(..3)];
        let key = one_of(random, &["command", "\"command\"", "'command'"]);
        let mut pairs = vec![(key, toml_string(random).to_owned())];
        if random.bool() {
            pairs.push(("args", toml_list(random, newline)));
        }
        if random.bool() {
            pairs.push(("env.command", "\"no\"".to_owned()));
        }
        random.shuffle(&mut pairs);
        let equals = one_of(random, &[" = ", "=", " =\t"]);
        let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}{equals}{value}")).collect();
        let dot = one_of(random, &[".", " . ", "\t."]);
        let dotted: Vec<String> = pairs.iter().map(|pair| format!("{name}{dot}{pair}")).collect();
        let space = one_of(random, &["", " "]);
        let inline = format!("{name}{equals}{{{space}{}{space}}}", pairs.join(", "));
        let entry = if random.bool() { vec![inline] } else { dotted };
        let end = format!("{}{newline}", one_of(random, &["", " ", " # that's \"it\" ]"]));
        let indentation = one_of(random, &["", "  ", "\t"]);
        match spelling {
            0 => text.extend(entry.iter().map(|line| format!("{indentation}{line}{end}"))),
            1 => {
                let comma = if number + 1 < number_of_servers { "," } else { "}" };
                text += &format!("{space}{}{space}{comma}", entry.join(" ,"));
            }
            2 => text.extend(entry.iter().map(|line| format!("mcp_servers{dot}{line}{end}"))),
            _ => {
                text += &format!("[{space}mcp_servers{dot}{name}{space}]{end}");
                text.extend(pairs.iter().map(|line| format!("{indentation}{line}{end}")));
            }
        }
    }
    if random.bool() {
        text.truncate(text.trim_end().len()); // no newline at the end of the file
    }
    text
}
