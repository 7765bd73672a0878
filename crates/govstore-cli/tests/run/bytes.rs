//! What passes, passes as it is.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::TestResult;
use crate::tree::Home;

/// Sends `bytes` through a wrapped `cat`, in pieces, and returns what comes back.
fn there_and_back(home: &Home, bytes: &[u8], mut piece: impl FnMut() -> usize + Send) -> TestResult<Vec<u8>> {
    let mut child = home.run(&[], &["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut stdin, mut stdout) =
        (child.stdin.take().ok_or("no stdin")?, child.stdout.take().ok_or("no stdout")?);
    let mut returned = Vec::new();
    thread::scope(|scope| -> TestResult {
        let sent = scope.spawn(move || -> std::io::Result<()> {
            let mut rest = bytes;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
                stdin.write_all(now)?;
                rest = later;
            }
            Ok(())
        });
        stdout.read_to_end(&mut returned)?;
        sent.join().map_err(|_| "the writer panicked")??;
        Ok(())
    })?;
    assert!(child.wait()?.success());
    Ok(returned)
}

#[test]
fn random_bytes_in_random_pieces_pass_unchanged() -> TestResult {
    let home = Home::new()?;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let rounds = std::env::var("GOVSTORE_RUN_CHUNKINGS").ok().and_then(|rounds| rounds.parse().ok());
    for round in 0..rounds.unwrap_or(5) {
        let length = if round == 0 { 1 } else { random.usize(1..300_000) };
        let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        let largest = [200, 1_000, 5_000, 70_000, 1 << 20][round % 5];
        let mut pieces = fastrand::Rng::with_seed(random.u64(..));
        let returned = there_and_back(&home, &bytes, || pieces.usize(1..largest))?;
        assert!(returned == bytes, "{} bytes became {}", bytes.len(), returned.len());
    }
    Ok(())
}

#[test]
fn a_line_of_50_mb_and_what_is_no_text_pass_unchanged() -> TestResult {
    let home = Home::new()?;
    let mut bytes = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""#.to_vec();
    bytes.resize(50 << 20, b'x');
    bytes.extend(b"\"}}\n\xff\xfe\0\0\n\n{\"id\":\"\\ud800\"}\r\nno final newline");
    let returned = there_and_back(&home, &bytes, || 1 << 20)?;
    assert!(returned == bytes);
    Ok(())
}

/// A client that reads slowly holds the server up, and not the memory of what is between them.
#[test]
fn back_pressure_holds() -> TestResult {
    let home = Home::new()?;
    let mut child = home
        .run(&[], &["sh", "-c", "head -c 200000000 /dev/zero"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or("no stdout")?;
    let mut some = vec![0; 1_000_000];
    stdout.read_exact(&mut some)?;
    thread::sleep(Duration::from_millis(500));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let kb: u64 = anonymous.split_whitespace().next().ok_or("no size")?.parse()?;
    assert!(kb < 16 << 10, "{kb} kB are held");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest)?;
    assert_eq!(some.len() + rest.len(), 200_000_000);
    let status = child.wait()?;
    assert!(status.success(), "{status}");
    Ok(())
}

/// A server that closes its output and works on, and one that closes its input and talks on.
#[test]
fn half_closed_streams_are_half_closed() -> TestResult {
    let home = Home::new()?;
    let file = home.path().join("said");
    let path = file.to_str().ok_or("a path that is no text")?;
    let script = r#"exec >&-; cat > "$1.part"; mv "$1.part" "$1""#;
    let mut child = home
        .run(&[], &["sh", "-c", script, "sh", path])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let mut said = Vec::new();
    child.stdout.take().ok_or("no stdout")?.read_to_end(&mut said)?; // ends while the server runs
    assert!(said.is_empty());
    stdin.write_all(b"still heard")?;
    drop(stdin);
    assert!(child.wait()?.success());
    assert_eq!(std::fs::read(&file)?, b"still heard");

    let script = "exec <&-; sleep 0.3; echo still said";
    let mut child =
        home.run(&[], &["sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let deaf = (0..10_000).any(|_| stdin.write_all(&[b'x'; 4096]).is_err());
    assert!(deaf, "the client is told that nobody reads");
    let mut said = String::new();
    child.stdout.take().ok_or("no stdout")?.read_to_string(&mut said)?;
    assert_eq!(said, "still said\n");
    Ok(())
}

#[test]
fn the_server_is_heard_on_standard_error_and_its_end_is_ours() -> TestResult {
    let home = Home::new()?;
    let output = home.run(&[], &["sh", "-c", "echo to people >&2; exit 7"]).stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "to people\n");

    let log = home.path().join("log");
    let to_log = log.to_str().ok_or("a path that is no text")?;
    for _ in 0..2 {
        let script = "echo to both >&2; kill -KILL $$";
        let output =
            home.run(&["--log-file", to_log], &["sh", "-c", script]).stdin(Stdio::null()).output()?;
        assert_eq!(output.status.signal(), Some(9));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "to both\n");
    }
    assert_eq!(std::fs::read_to_string(&log)?, "to both\nto both\n");

    for signal in [2, 6, 11, 15] {
        let script = format!("kill -{signal} $$");
        let output = home.run(&[], &["sh", "-c", &script]).stdin(Stdio::null()).output()?;
        assert_eq!(output.status.signal(), Some(signal));
    }
    Ok(())
}

#[test]
fn a_program_that_is_not_there_is_named() -> TestResult {
    let home = Home::new()?;
    let output = home.run(&[], &["no-such-program"]).stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot start no-such-program: No such file"));
    Ok(())
}
