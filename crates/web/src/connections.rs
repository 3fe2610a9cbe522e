//! The connections that are open: how many there may be, in total and from one address, and which one makes room for another.
//!
//! A connection that waits for its client's next request costs that client little to open again, so it is closed in favour of a
//! new one: first one that has not sent a request within a second, then the one that was idle for longest. One that was just opened
//! comes last: its request may be on its way.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::Waker,
    time::Instant,
};

use futures_util::task::AtomicWaker;
use ipnet::IpNet;

use super::client_address::{counted, is_among};

/// All open connections.
#[derive(Debug)]
pub struct Connections {
    total_max: usize,
    address_max: usize,
    trusted_proxies: Vec<IpNet>,
    is_draining: AtomicBool,
    began: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    /// Those whose socket is open.
    entries: HashMap<u64, Arc<Entry>>,
    /// Number of evicted entries; their threads close them at the next look.
    leaving: usize,
    /// Those that are not evicted, by address.
    by_address: HashMap<IpAddr, usize>,
}

/// One open connection, as other threads see it.
#[derive(Debug)]
struct Entry {
    /// Address that it counts for; `None` for trusted proxies.
    address: Option<IpAddr>,
    stage: AtomicU8,
    /// When the stage began, in milliseconds since the first connection could be.
    since_ms: AtomicU64,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
}

/// It has not sent a request yet.
const FRESH: u8 = 0;
/// It waits for the next request.
const IDLE: u8 = 1;
/// A request of it is being answered.
const BUSY: u8 = 2;
/// Time for the first request of a new connection, in milliseconds. After it the connection is the first to be evicted.
const FIRST_REQUEST_MS: u64 = 1_000;

/// Most sockets that are open beyond the total, while connections are closed that made room for others. The server accepts no
/// further ones until they are closed.
pub const LEAVING_MAX: usize = 16;

/// The slot of one connection among the open ones, given up when this is dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    id: u64,
    entry: Arc<Entry>,
    connections: Arc<Connections>,
}

impl Connections {
    /// Room for so many connections, in total and from one address. One address gets half of the total at most, so that it
    /// cannot shut out all others.
    #[must_use]
    pub fn new(total_max: usize, address_max: usize, trusted_proxies: Vec<IpNet>) -> Self {
        Self {
            total_max: total_max.max(1),
            address_max: address_max.min(total_max / 2).max(1),
            trusted_proxies,
            is_draining: AtomicBool::new(false),
            began: Instant::now(),
            open: Mutex::default(),
        }
    }

    /// Most connections in total.
    #[must_use]
    pub fn total_max(&self) -> usize {
        self.total_max
    }

    /// Most connections from one address.
    #[must_use]
    pub fn address_max(&self) -> usize {
        self.address_max
    }

    /// A slot for a new connection. Another one is closed if that makes room; without room there is none.
    pub fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<ConnectionSlot> {
        let address = self.counted(peer.ip());
        let now_ms = self.now_ms();
        let mut open = self.lock();
        let of_address = address.and_then(|address| open.by_address.get(&address));
        if of_address.is_some_and(|count| *count >= self.address_max)
            && !open.evict(address, now_ms, "address")
        {
            metrics::counter!("http_connections_refused_total", "reason" => "address").increment(1);
            return None;
        }
        if open.staying() >= self.total_max && !open.evict(None, now_ms, "total") {
            metrics::counter!("http_connections_refused_total", "reason" => "total").increment(1);
            return None;
        }
        let entry = Arc::new(Entry {
            address,
            stage: AtomicU8::new(FRESH),
            since_ms: AtomicU64::new(now_ms),
            is_evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let id = open.insert(Arc::clone(&entry));
        drop(open);
        metrics::gauge!("http_connections_open").increment(1.0);
        Some(ConnectionSlot { id, entry, connections: Arc::clone(self) })
    }

    /// Returns true if the process stops, so that nothing that stands still is waited for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// From now on, a client that does not take its answer is given up early.
    pub fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        // A waiting connection looks at its limits once a second by itself.
    }

    fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        (!is_among(&self.trusted_proxies, &address)).then(|| counted(address))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn insert(&mut self, entry: Arc<Entry>) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        if let Some(address) = entry.address {
            let count = self.by_address.entry(address).or_default();
            *count = count.saturating_add(1);
        }
        self.entries.insert(id, entry);
        id
    }

    /// Number of open connections that are not evicted.
    fn staying(&self) -> usize {
        self.entries.len().saturating_sub(self.leaving)
    }

    /// Forgets a connection whose socket is closed.
    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        match entry.is_evicted.load(Ordering::Acquire) {
            true => self.leaving = self.leaving.saturating_sub(1),
            false => self.uncount(entry.address),
        }
    }

    fn uncount(&mut self, address: Option<IpAddr>) {
        let Some(address) = address else {
            return;
        };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// Has one connection closed that answers no request, of this address if one is given. Whether there was one.
    fn evict(&mut self, address: Option<IpAddr>, now_ms: u64, reason: &'static str) -> bool {
        let found = self
            .entries
            .iter()
            .filter(|(_, entry)| address.is_none() || entry.address == address)
            .filter(|(_, entry)| !entry.is_evicted.load(Ordering::Acquire))
            .filter_map(|(id, entry)| {
                let since_ms = entry.since_ms.load(Ordering::Acquire);
                let is_new = now_ms.saturating_sub(since_ms) < FIRST_REQUEST_MS;
                let rank = match entry.stage.load(Ordering::Acquire) {
                    BUSY => return None,
                    FRESH if is_new => BUSY,
                    stage => stage,
                };
                Some((rank, since_ms, *id))
            })
            .min();
        let Some(entry) = found.and_then(|(.., id)| self.entries.get(&id).cloned()) else {
            return false;
        };
        entry.is_evicted.store(true, Ordering::Release);
        entry.waker.wake();
        self.leaving = self.leaving.saturating_add(1);
        self.uncount(entry.address);
        metrics::counter!("http_connections_evicted_total", "reason" => reason).increment(1);
        true
    }
}

impl ConnectionSlot {
    /// Returns true if the connection has to close for another one. If not, `waker` is woken when it has to.
    pub fn is_evicted(&self, waker: &Waker) -> bool {
        self.entry.waker.register(waker);
        self.entry.is_evicted.load(Ordering::Acquire)
    }

    /// Returns true if the process stops.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.connections.is_draining()
    }

    /// A request is being answered from now on.
    pub fn busy(&self) {
        self.enter(BUSY);
    }

    /// The next request is waited for from now on.
    pub fn idle(&self) {
        self.enter(IDLE);
    }

    fn enter(&self, stage: u8) {
        self.entry.since_ms.store(self.connections.now_ms(), Ordering::Release);
        self.entry.stage.store(stage, Ordering::Release);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        metrics::gauge!("http_connections_open").decrement(1.0);
        self.connections.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    fn gate(total: usize, address: usize) -> Arc<Connections> {
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        let mut connections = Connections::new(total, address, trusted);
        connections.began = connections.began.checked_sub(Duration::from_mins(1)).unwrap();
        Arc::new(connections)
    }

    /// Numbers of open connections and of those that are evicted.
    fn counts(gate: &Connections) -> (usize, usize) {
        let open = gate.lock();
        (open.entries.len(), open.leaving)
    }

    #[test]
    fn connections_of_an_address_are_bounded_and_those_of_proxies_are_not() {
        let gate = gate(100, 2);
        let (first, second) = (gate.admit(peer("1.2.3.4")).unwrap(), gate.admit(peer("1.2.3.4")).unwrap());
        first.busy();
        second.busy();
        assert!(gate.admit(peer("1.2.3.4")).is_none());
        assert!(gate.admit(peer("::ffff:1.2.3.4")).is_none(), "the same address");
        let other = gate.admit(peer("1.2.3.5"));
        assert!(other.is_some());
        let proxies: Vec<_> = (0..5).filter_map(|_| gate.admit(peer("10.1.1.1"))).collect();
        assert_eq!(proxies.len(), 5);
        drop(first);
        assert!(gate.admit(peer("1.2.3.4")).is_some());
        let six = [gate.admit(peer("2001:db8::1")).unwrap(), gate.admit(peer("2001:db8::2")).unwrap()];
        six.iter().for_each(ConnectionSlot::busy);
        assert!(gate.admit(peer("2001:db8::3")).is_none(), "one network of a site");
        drop((second, other, proxies, six));
        assert_eq!(counts(&gate), (0, 0));
        assert!(gate.lock().by_address.is_empty());
    }

    #[test]
    fn the_least_missed_connection_makes_room() {
        let gate = gate(3, 100);
        let waker = Waker::noop();
        let [busy, idle, fresh] =
            ["1.0.0.1", "1.0.0.2", "1.0.0.3"].map(|text| gate.admit(peer(text)).unwrap());
        busy.busy();
        idle.idle();
        fresh.entry.since_ms.store(0, Ordering::Release);
        let fourth = gate.admit(peer("1.0.0.4")).unwrap();
        assert!(fresh.is_evicted(waker) && !idle.is_evicted(waker));
        assert_eq!(gate.lock().entries.len(), 4, "its socket is open until it is dropped");
        fourth.busy();
        let fifth = gate.admit(peer("1.0.0.5")).unwrap();
        assert!(idle.is_evicted(waker));
        fifth.busy();
        assert!(gate.admit(peer("1.0.0.6")).is_none(), "all three answer requests");
        assert_eq!(counts(&gate), (5, 2));
        drop((fresh, idle));
        assert_eq!(counts(&gate), (3, 0));
        assert!(!busy.is_evicted(waker));
        drop((busy, fourth, fifth));
        assert_eq!(counts(&gate), (0, 0));
        assert!(gate.lock().by_address.is_empty());
    }

    #[test]
    fn a_connection_that_was_just_opened_stays_while_another_can_make_room() {
        let gate = gate(2, 100);
        let waker = Waker::noop();
        let [idle, new] = ["1.0.0.1", "1.0.0.2"].map(|text| gate.admit(peer(text)).unwrap());
        idle.idle();
        let third = gate.admit(peer("1.0.0.3")).unwrap();
        assert!(idle.is_evicted(waker) && !new.is_evicted(waker));
        third.busy();
        let fourth = gate.admit(peer("1.0.0.4"));
        assert!(fourth.is_some() && new.is_evicted(waker), "there is no other one");
    }

    #[test]
    fn one_address_gets_half_of_the_places_at_most() {
        let gate = gate(8, 512);
        let admit = |address: &str| {
            let slot = gate.admit(peer(address));
            slot.iter().for_each(ConnectionSlot::busy);
            slot
        };
        let own: Vec<_> = (0..8).filter_map(|_| admit("1.0.0.1")).collect();
        assert_eq!(own.len(), 4);
        assert!(admit("1.0.0.2").is_some());
    }
}
