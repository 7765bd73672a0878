//! A network between a client and a server that does to it what networks do: it is slow, it swallows, it breaks.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It arrives.
    Up,
    /// It arrives nowhere, and nobody is told.
    BlackHole,
    /// Connections are closed, and new ones too.
    Down,
}

/// A proxy to one server, on a port of its own, until it drops.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: AtomicU64,
    network: AtomicU8,
    delay_us: AtomicU64,
    /// How often it has forgotten its connections.
    forgotten: AtomicU64,
    /// How many pieces are still carried before everything is cut; and whether the last of them arrives.
    left: AtomicI64,
    arrives: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    is_over: AtomicU8,
}

impl Proxy {
    /// To a port of this machine.
    pub fn to(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let own = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target: AtomicU64::new(port.into()),
            network: AtomicU8::new(0),
            delay_us: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            left: AtomicI64::new(i64::MAX),
            arrives: AtomicBool::new(true),
            streams: Mutex::default(),
            is_over: AtomicU8::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Ordering::Acquire) != 0 {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(&client));
            }
        });
        Ok(Self { port: own, shared })
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database on a PostgreSQL server behind it.
    pub fn address(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// From now on it goes to another port, for new connections.
    pub fn lead_to(&self, port: u16) {
        self.shared.target.store(port.into(), Ordering::Release);
    }

    /// What becomes of what is sent from now on.
    pub fn set(&self, network: Network) {
        self.shared.network.store(network as u8, Ordering::Release);
        if network == Network::Down {
            self.cut();
        }
    }

    /// Each direction takes this much longer from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Swallows what is sent on the connections that there are, as a router does that has forgotten them; new ones work.
    pub fn forget(&self) {
        self.shared.forgotten.fetch_add(1, Ordering::AcqRel);
    }

    /// Cuts all connections once, at the piece of this number from now on, in whichever direction it goes: after it has
    /// arrived, or before.
    pub fn cut_at(&self, piece: i64, arrives: bool) {
        self.shared.arrives.store(arrives, Ordering::Release);
        self.shared.left.store(piece, Ordering::Release);
    }

    /// Whether that has come.
    pub fn has_cut(&self) -> bool {
        self.shared.left.load(Ordering::Acquire) <= 0
    }

    /// Closes all connections that there are.
    pub fn cut(&self) {
        self.shared.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(1, Ordering::Release);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the thread that accepts
    }
}

impl Shared {
    fn cut(&self) {
        for stream in self.streams.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn is(&self, network: Network) -> bool {
        self.network.load(Ordering::Acquire) == network as u8
    }

    fn serve(&self, client: &TcpStream) {
        if self.is(Network::Down) {
            return;
        }
        let port = u16::try_from(self.target.load(Ordering::Acquire)).unwrap_or_default();
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        self.streams.lock().expect("no panic").extend([clone(client), clone(&server)]);
        thread::scope(|scope| {
            scope.spawn(|| self.carry(clone(client), clone(&server)));
            self.carry(clone(&server), clone(client));
        });
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let forgotten = self.forgotten.load(Ordering::Acquire);
        let (sender, arrivals) = mpsc::channel::<(Instant, Vec<u8>)>();
        thread::scope(|scope| {
            scope.spawn(move || {
                for (due, bytes) in arrivals {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    if to.write_all(&bytes).is_err() {
                        break;
                    }
                }
                let _ = to.shutdown(Shutdown::Write);
            });
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read) = from.read(&mut buffer) {
                if read == 0 {
                    break;
                }
                if self.is(Network::BlackHole) || self.forgotten.load(Ordering::Acquire) != forgotten {
                    continue;
                }
                if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    if self.arrives.load(Ordering::Acquire) {
                        let _ = sender.send((Instant::now(), buffer[..read].to_vec()));
                        thread::sleep(Duration::from_millis(20)); // until it is there
                    }
                    self.cut();
                    break;
                }
                let due = Instant::now() + Duration::from_micros(self.delay_us.load(Ordering::Acquire));
                if sender.send((due, buffer[..read].to_vec())).is_err() {
                    break;
                }
            }
            drop(sender);
        });
    }
}
