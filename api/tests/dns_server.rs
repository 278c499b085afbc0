//! A name server that shows what a test has published. It speaks the wire format by itself (RFC 1035 section 4), so
//! that the resolver is not judged by its own library.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::JoinHandle};

const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// What it answers.
#[derive(Default)]
struct Zone {
    texts: HashMap<String, Vec<String>>,
    failing: bool,
    asked: usize,
}

/// On a port of its own. Dropped, it is silent.
pub(crate) struct DnsServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DnsServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let task = tokio::spawn(serve(socket, Arc::clone(&zone)));
        Self { address, zone, task }
    }

    /// As the setting names it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Adds a TXT record.
    pub(crate) fn publish(&self, name: &str, text: &str) {
        let mut zone = self.zone.lock().unwrap();
        zone.texts
            .entry(name.to_owned())
            .or_default()
            .push(text.to_owned());
    }

    /// From now on every question is a server failure.
    pub(crate) fn fail(&self) {
        self.zone.lock().unwrap().failing = true;
    }

    /// How many questions there were.
    pub(crate) fn asked(&self) -> usize {
        self.zone.lock().unwrap().asked
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut query = [0; 1500];
    loop {
        let (length, client) = socket.recv_from(&mut query).await.unwrap();
        let response = answer(&query[..length], &mut zone.lock().unwrap());
        socket.send_to(&response, client).await.unwrap();
    }
}

fn answer(query: &[u8], zone: &mut Zone) -> Vec<u8> {
    zone.asked += 1;
    let (name, end) = question(query);
    let texts = zone.texts.get(&name).cloned().unwrap_or_default();
    let code = match (zone.failing, texts.is_empty()) {
        (true, _) => SERVER_FAILURE,
        (false, true) => NO_SUCH_NAME,
        (false, false) => NO_ERROR,
    };
    let answers = if code == NO_ERROR { texts } else { Vec::new() };
    let mut response = query[..2].to_vec();
    // A response, recursion desired and available; one question and so many answers.
    response.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(answers.len()).unwrap(),
        0,
        0,
        0,
        0,
    ]);
    response.extend(&query[12..end]);
    for text in answers {
        // In two parts, as long records are.
        let (first, second) = text.split_at(text.len() / 2);
        let mut data = Vec::new();
        for part in [first, second] {
            data.push(u8::try_from(part.len()).unwrap());
            data.extend(part.as_bytes());
        }
        // The name of the question, TXT, IN, a minute.
        response.extend([0xc0, 0x0c, 0, 16, 0, 1, 0, 0, 0, 60]);
        response.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        response.extend(data);
    }
    response
}

/// The name that is asked for, and where the question ends.
fn question(query: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..=at + length].to_vec()).unwrap());
        at += 1 + length;
    }
    (labels.join("."), at + 5)
}
