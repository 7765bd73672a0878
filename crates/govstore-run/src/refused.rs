//! What a client is told whose server may not be started: in words, as the answer to whatever it asks.

use std::io;

use crate::answer;
use crate::client_out::ClientOut;
use crate::pipe::client;
use crate::scan::Scanner;

/// Answers each request with `reason`, until the client has hung up.
pub fn answer(reason: &str) -> io::Result<()> {
    let out = ClientOut::default();
    let mut scanner = Scanner::of_client();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = client::read(&mut chunk, None)?;
        if length == 0 {
            return Ok(());
        }
        let mut answers = Vec::new();
        scanner.feed(&chunk[..length], |message| {
            if let (Some(id), Some(_)) = (&message.id, &message.method) {
                answers.push(answer::error(id, reason) + "\n");
            }
        });
        out.interject(answers.concat().as_bytes())?;
    }
}
