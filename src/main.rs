#![allow(missing_docs)]
fn main() {
    let mut args = std::env::args_os().skip(1);
    let mut options = govstore::mcp::ServeOptions { database: "governance.db".into(), log_file: None };
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--db") => options.database = args.next().unwrap().into(),
            Some("--log-file") => options.log_file = Some(args.next().unwrap().into()),
            _ => {}
        }
    }
    if let Err(e) = govstore::mcp::serve(&options) {
        eprintln!("error: {e}");
        std::process::exit(1);
    }
}
