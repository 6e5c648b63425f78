//! An HLR that is slow, ill or no HLR at all. What the real one answers: node/tests/osmo_hlr.rs.

use std::future::Future;

use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

use super::*;

const PATIENT: Duration = Duration::from_secs(5);

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn hlr(address: &str) -> Hlr {
    let networks = Networks::new(&["7701"], &[("90", "TR")]).unwrap();
    Hlr::start(Settings { address: address.to_owned(), networks, last_known: false })
}

fn number(i: u32) -> Number {
    Number::from_digits(format!("7701{i:07}").as_bytes()).unwrap()
}

fn frame(text: &str) -> Vec<u8> {
    let payload = [&[0u8], text.as_bytes()].concat();
    [&(payload.len() as u16).to_be_bytes()[..], &[0xee], &payload].concat()
}

/// Reads a question: its id and the digits asked about; None at the end.
async fn question(stream: &mut TcpStream) -> Option<(u32, String)> {
    let mut head = [0; 3];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[0], head[1]]))];
    stream.read_exact(&mut payload).await.ok()?;
    assert_eq!((head[2], payload[0]), (0xee, 0x00));
    let text = String::from_utf8(payload[1..].to_vec()).unwrap();
    let rest = text.strip_prefix("GET ").unwrap();
    let (id, variable) = rest.split_once(' ').unwrap();
    let digits = variable.strip_prefix("subscriber.by-msisdn-").unwrap().strip_suffix(".info").unwrap();
    Some((id.parse().unwrap(), digits.to_owned()))
}

fn reply(id: u32, digits: &str, vlr: &str) -> Vec<u8> {
    let record = format!("\nid\t1\nimsi\t401010000000001\nmsisdn\t{digits}\nvlr_number\t{vlr}");
    frame(&format!("GET_REPLY {id} subscriber.by-msisdn-{digits}.info {record}"))
}

async fn answer_all(mut stream: TcpStream) {
    while let Some((id, digits)) = question(&mut stream).await {
        stream.write_all(&reply(id, &digits, "905321230000")).await.unwrap();
    }
}

#[test]
fn each_gets_his_own_answer_whatever_their_order() {
    run(async {
        let (listener, address) = listen().await;
        spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while asked.len() < 40 {
                asked.push(question(&mut stream).await.unwrap());
            }
            stream.write_all(b"\x00\x01\xfe\x00").await.unwrap();
            let mut pong = [0; 4];
            stream.read_exact(&mut pong).await.unwrap();
            assert_eq!(pong, control::PONG);
            for (id, digits) in asked.iter().rev() {
                // An even number is abroad, an odd one at home.
                let vlr = if digits.ends_with(['0', '2', '4', '6', '8']) { "9053" } else { "77010" };
                stream.write_all(&reply(*id, digits, vlr)).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        let hlr = Rc::new(hlr(&address));
        let asking: Vec<_> = (0..40)
            .map(|i| {
                let hlr = hlr.clone();
                spawn_local(async move { (i, hlr.ask(number(i), PATIENT).await) })
            })
            .collect();
        for task in asking {
            let (i, found) = task.await.unwrap();
            let expected = if i % 2 == 0 { Status::Roaming } else { Status::NotRoaming };
            assert_eq!(found.status, expected, "{i}");
        }
    });
}

#[test]
fn no_more_are_on_the_way_than_the_hlr_queues_answers() {
    run(async {
        let (listener, address) = listen().await;
        spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut owed = Vec::new();
            loop {
                match timeout(Duration::from_millis(100), question(&mut stream)).await {
                    Ok(Some(asked)) => owed.push(asked),
                    Ok(None) => return,
                    Err(_) => {
                        assert!(owed.len() <= PIPELINED, "{} at a time", owed.len());
                        for (id, digits) in owed.drain(..) {
                            stream.write_all(&reply(id, &digits, "9053")).await.unwrap();
                        }
                    }
                }
            }
        });
        let hlr = Rc::new(hlr(&address));
        let asking: Vec<_> = (0..200)
            .map(|i| {
                let hlr = hlr.clone();
                spawn_local(async move { hlr.ask(number(i), PATIENT).await })
            })
            .collect();
        for task in asking {
            assert_eq!(task.await.unwrap().status, Status::Roaming);
        }
    });
}

#[test]
fn nobody_there_is_known_at_once_and_his_coming_is_noticed() {
    run(async {
        let (listener, address) = listen().await;
        drop(listener);
        let hlr = hlr(&address);
        let began = Instant::now();
        let found = hlr.ask(number(1), PATIENT).await;
        assert_eq!(found.reason, Some(WhyUnknown::SourceFailed));
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(hlr.last_fault().unwrap().contains("refused"), "{:?}", hlr.last_fault());
        let listener = TcpListener::bind(&address).await.unwrap();
        spawn_local(async move { answer_all(listener.accept().await.unwrap().0).await });
        sleep(Duration::from_millis(500)).await;
        assert_eq!(hlr.ask(number(1), PATIENT).await.status, Status::Roaming);
    });
}

#[test]
fn a_question_survives_its_connection() {
    run(async {
        let (listener, address) = listen().await;
        spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (id, digits) = question(&mut stream).await.unwrap();
            stream.write_all(&reply(id, &digits, "9053")).await.unwrap();
            question(&mut stream).await.unwrap();
            drop(stream);
            answer_all(listener.accept().await.unwrap().0).await;
        });
        let hlr = hlr(&address);
        for _ in 0..3 {
            let found = hlr.ask(number(1), PATIENT).await;
            assert_eq!((found.status, found.visited), (Status::Roaming, Some(*b"TR")));
        }
    });
}

#[test]
fn a_silent_peer_costs_the_deadline_and_is_left() {
    run(async {
        let (listener, address) = listen().await;
        spawn_local(async move {
            let silent = listener.accept().await.unwrap();
            answer_all(listener.accept().await.unwrap().0).await;
            drop(silent);
        });
        let hlr = hlr(&address);
        let deadline = Duration::from_millis(150);
        let began = Instant::now();
        let found = hlr.ask(number(1), deadline).await;
        assert_eq!(found, Whereabouts::unknown(Method::Hlr, WhyUnknown::Timeout));
        let took = began.elapsed();
        assert!(took >= deadline && took < deadline + Duration::from_millis(100), "{took:?}");
        sleep(SILENCE + Duration::from_secs(1)).await;
        assert_eq!(hlr.ask(number(1), PATIENT).await.status, Status::Roaming);
    });
}

#[test]
fn garbage_is_no_answer_and_no_panic() {
    let record = |more: &str| format!("GET_REPLY 1 subscriber.by-msisdn-77010000001.info {more}");
    let garbage = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0; 5000],
        vec![0xff; 70_000],
        frame(""),
        frame("GET_REPLY"),
        frame("GET_REPLY 1 subscriber.by-msisdn-77010000002.info \nid\t1\nmsisdn\t77010000002"),
        frame("GET_REPLY 1 subscriber.by-id-1.info \nid\t1\nmsisdn\t77010000001\nvlr_number\t9053"),
        frame(&record("")),
        frame(&record("\nid\t1\nmsisdn\t77010000002")),
        frame(&record("\u{0}\t\t\t\n\n\nmsisdn\n\u{fffd}")),
        frame("ERROR 1 An unknown error has occurred during get_subscriber()."),
        frame("ERROR 1"),
        frame("ERROR err Request malformed"),
        frame("TRAP 1 a b"),
    ];
    for bytes in garbage {
        run(async {
            let (listener, address) = listen().await;
            let sent = bytes.clone();
            spawn_local(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                question(&mut stream).await.unwrap();
                stream.write_all(&sent).await.unwrap();
                std::future::pending::<()>().await;
            });
            let hlr = hlr(&address);
            let began = Instant::now();
            let found = hlr.ask(number(1), Duration::from_millis(120)).await;
            assert_eq!(found.status, Status::Unknown, "{bytes:?}");
            assert!(began.elapsed() < Duration::from_millis(300));
        });
    }
}
