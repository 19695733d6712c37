//! Look-ups from Redis in Feast's layout, beside a bare client that sends the same commands and looks at nothing.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hanok_features::{Lookup, LookupSettings, OpenStores, ResolveRequest, feast_field, system_clock};
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionLike as _, Pipeline};
use tokio::task::JoinSet;

use crate::{FEATURES, Figure, Target, declare, key, name as name_of, requests, value, view};

const KEYS: usize = 20_000;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(800);

struct Server(Child, u16);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn start() -> Option<Server> {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]).arg(port.to_string());
    let server = Server(command.stdout(Stdio::null()).spawn().ok()?, port);
    let give_up = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < give_up, "Redis does not listen");
    }
    Some(server)
}

pub(crate) async fn measure() -> Vec<Figure> {
    let Some(server) = start() else {
        eprintln!("     skipped: Redis is not installed (no `redis-server` in PATH)");
        return Vec::new();
    };
    let url = format!("redis://127.0.0.1:{}", server.1);
    let set = declare(&format!("feast_redis: {{url: \"{url}\", project: flights}}"));
    let fields: Vec<[u8; 4]> = (0..FEATURES).map(|feature| feast_field("planes", &format!("f{feature}"))).collect();
    let stored_keys: Arc<Vec<Vec<u8>>> =
        Arc::new((0..KEYS).map(|number| [key(view(&set), number).as_slice(), b"flights"].concat()).collect());
    fill(&url, &stored_keys, &fields);
    let stores = OpenStores::open(&set, Path::new(".")).unwrap();
    let start = || Lookup::start(&set, "delay", &stores, LookupSettings::default(), system_clock).unwrap();
    let bare = Bare {
        connection: Client::open(url.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap(),
        fields: Arc::new(fields),
        keys: Arc::clone(&stored_keys),
    };
    let mut figures = vec![round_trips(&url, start()).await];
    for (name, rows, callers) in [
        ("Redis, 100 keys a request, 4 callers", 100, 4),
        ("Redis, 10 keys a request, 16 callers", 10, 16),
        ("Redis, 1 key a request, 64 callers", 1, 64),
    ] {
        figures.push(beside_bare(name, &bare, &Arc::new(start()), rows, callers).await);
    }
    figures
}

fn fill(url: &str, keys: &[Vec<u8>], fields: &[[u8; 4]]) {
    let mut connection = Client::open(url).unwrap().get_connection().unwrap();
    for (chunk, group) in keys.chunks(1000).enumerate() {
        let mut commands = Pipeline::new();
        for (index, key) in group.iter().enumerate() {
            // Seconds of a protobuf `Timestamp`: the year 2033.
            let command = commands.cmd("HSET").arg(key).arg("_ts:planes").arg(&b"\x08\x80\xa8\xd6\xb9\x07"[..]);
            for (feature, field) in fields.iter().enumerate() {
                // Field 5 of Feast's value: a double.
                let number = value(chunk * 1000 + index, feature).to_le_bytes();
                command.arg(&field[..]).arg([b"\x29".as_slice(), &number].concat());
            }
        }
        connection.req_packed_commands(&commands.get_packed_pipeline(), 0, group.len()).unwrap();
    }
}

/// Reads that the server made for a batch of 100 keys: one, because one read of 64 KiB takes them all.
async fn round_trips(url: &str, lookup: Lookup) -> Figure {
    const BATCHES: usize = 500;
    let mut connection = Client::open(url).unwrap().get_connection().unwrap();
    let mut reads = || -> u64 {
        let text: String = redis::cmd("INFO").arg("stats").query(&mut connection).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("total_reads_processed:")).unwrap();
        line.trim().parse().unwrap()
    };
    let requests = requests(BATCHES + 1, 100, KEYS);
    // The first makes the connection.
    lookup.resolve(&requests[0]).await.unwrap();
    let (before, trips) = (reads(), lookup.statistics().store_reads);
    for request in &requests[1..] {
        let resolved = lookup.resolve(request).await.unwrap();
        assert!(!resolved.fell_back());
    }
    let trips = lookup.statistics().store_reads - trips;
    let seen = reads() - before;
    lookup.close().await;
    Figure {
        name: "Redis, round trips for a batch of 100 keys",
        unit: "",
        target: Target::AtMost(1.0),
        measured: f64::from(u32::try_from(trips).unwrap()) / f64::from(u32::try_from(BATCHES).unwrap()),
        beside: format!("{trips} for {BATCHES} batches; the server read {seen} times from its sockets"),
    }
}

/// The bare client: one connection, commands in a pipeline, replies parsed and thrown away.
#[derive(Clone)]
struct Bare {
    connection: MultiplexedConnection,
    fields: Arc<Vec<[u8; 4]>>,
    keys: Arc<Vec<Vec<u8>>>,
}

impl Bare {
    async fn read(&mut self, numbers: &[usize]) {
        let mut commands = Pipeline::with_capacity(numbers.len());
        for number in numbers {
            let command = commands.cmd("HMGET").arg(&self.keys[*number]).arg("_ts:planes");
            for field in self.fields.iter() {
                command.arg(&field[..]);
            }
        }
        let replies = self.connection.send_packed_commands(&commands, 0, numbers.len()).await.unwrap();
        assert_eq!(replies.len(), numbers.len());
    }
}

/// What one caller asks, over and over: batches of numbers of keys, those of callers apart.
fn batches(caller: usize, rows: usize) -> Vec<Vec<usize>> {
    let number = |batch: usize, row: usize| ((caller * 64 + batch) * rows + row).wrapping_mul(7_919) % KEYS;
    (0..64).map(|batch| (0..rows).map(|row| number(batch, row)).collect()).collect()
}

/// Rows a second of both, in turns.
async fn beside_bare(name: &'static str, bare: &Bare, lookup: &Arc<Lookup>, rows: usize, callers: usize) -> Figure {
    let (mut shares, mut floors, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (mut bare, batches) = (bare.clone(), batches(caller, rows));
            tasks.spawn(async move {
                let (begin, mut turns) = (Instant::now(), 0);
                while begin.elapsed() < ROUND {
                    bare.read(&batches[turns % batches.len()]).await;
                    turns += 1;
                }
                turns
            });
        }
        let floor = rows_a_second(tasks, rows).await;
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let lookup = Arc::clone(lookup);
            let request = |numbers: &Vec<usize>| {
                ResolveRequest::new(rows).texts("tailnum", numbers.iter().map(|one| name_of(*one)))
            };
            let requests: Vec<ResolveRequest> = batches(caller, rows).iter().map(request).collect();
            tasks.spawn(async move {
                let (begin, mut turns) = (Instant::now(), 0);
                while begin.elapsed() < ROUND {
                    let resolved = lookup.resolve(&requests[turns % requests.len()]).await.unwrap();
                    assert!(!resolved.fell_back());
                    turns += 1;
                }
                turns
            });
        }
        let measured = rows_a_second(tasks, rows).await;
        shares.push(measured / floor);
        floors.push(floor);
        ours.push(measured);
    }
    let share = median(shares);
    Figure {
        name,
        unit: "of a bare pipelined client",
        target: Target::AtLeast(0.9),
        measured: share,
        beside: format!("{:.0} rows/s beside {:.0}", median(ours), median(floors)),
    }
}

async fn rows_a_second(mut tasks: JoinSet<usize>, rows: usize) -> f64 {
    let begin = Instant::now();
    let mut turns = 0;
    while let Some(done) = tasks.join_next().await {
        turns += done.unwrap();
    }
    f64::from(u32::try_from(turns * rows).unwrap()) / begin.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
