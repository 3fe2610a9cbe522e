//! The slots in which passwords are hashed, and the queue before them.

use std::{
    collections::HashMap,
    fmt,
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{
        self,
        phc::{Output, ParamsString, Salt},
    },
};
use kernel::{Failure, Ids, Kind};
use tokio::{sync::Semaphore, task, time::timeout};

use super::Password;

/// Memory of one hash in KiB, passes, lanes (HTTP contract 9; OWASP Password Storage Cheat Sheet).
const COST: Result<Params, argon2::Error> = Params::new(19 * 1_024, 2, 1, None);

/// Most slots: more than this many logins at a time are a storm, and each takes 19 MiB.
const SLOTS_MAX: usize = 4;
/// Callers that may wait for each slot. One hash takes 20 to 50 ms, so the last of them waits for a few seconds.
const QUEUE_PER_SLOT: usize = 64;
/// One caller has at most this part of all places, so that others get in: an eighth.
const SHARE: usize = 8;
/// Longest wait for a slot.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Checked where there is no password, so that this takes as long as a wrong one. It is the hash of no known password.
const NO_PASSWORD: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm8gcGFzc3dvcmQgaGVyZQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and checks passwords, a few at a time, on threads where blocking is allowed. Clones share slots and queue.
#[derive(Clone)]
pub struct PasswordPool {
    slots: Arc<Semaphore>,
    /// Those who are in a slot or wait for one.
    places: Arc<Semaphore>,
    /// Memory of the slots that are free. Each slot keeps what it got at its first use: memory that is given back after each hash
    /// is reused late by the allocator, and a storm then takes a multiple of it.
    memories: Arc<Mutex<Vec<Memory>>>,
    callers: Arc<Callers>,
    wait_max: Duration,
    salts: Arc<dyn Ids>,
}

/// Working memory of a hash.
type Memory = Vec<Block>;

/// The places that each caller has.
struct Callers {
    places: Mutex<HashMap<String, usize>>,
    /// Most places of one caller.
    most: usize,
}

/// A place of a caller, until it is dropped.
struct CallerPlace {
    callers: Arc<Callers>,
    caller: String,
}

/// The outcome of checking a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It is another one, or there is none.
    Wrong,
    /// It is this one.
    Right {
        /// A new hash to store instead, if the stored one was made at another cost.
        renewed: Option<String>,
    },
}

/// A password could be neither hashed nor checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// `ServiceUnavailableException`: too many callers wait for a slot, this one too often, or it waited too long.
    #[error("too many passwords are being checked")]
    Busy,
    /// `InternalServerException`: the hash function failed.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

impl Failure for PasswordError {
    fn code(&self) -> &'static str {
        match self {
            Self::Busy => "ServiceUnavailableException",
            Self::Failed(_) => "InternalServerException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Busy => Kind::Unavailable,
            Self::Failed(_) => Kind::Internal,
        }
    }
}

impl PasswordPool {
    /// A pool for a machine with so many cores: half of them remain for everything else, and memory is bounded by 20 MiB for each
    /// of at most four slots, which are kept once they were used.
    #[must_use]
    pub fn new(cores: NonZero<usize>, salts: Arc<dyn Ids>) -> Self {
        Self::with_slots((cores.get() / 2).clamp(1, SLOTS_MAX), QUEUE_PER_SLOT, salts)
    }

    /// A pool with so many slots, and places in the queue of each.
    #[must_use]
    pub fn with_slots(slots: usize, queue_per_slot: usize, salts: Arc<dyn Ids>) -> Self {
        let places = slots.saturating_add(slots.saturating_mul(queue_per_slot));
        let callers = Arc::new(Callers { places: Mutex::default(), most: places.div_ceil(SHARE) });
        let (slots, places) = (Arc::new(Semaphore::new(slots)), Arc::new(Semaphore::new(places)));
        Self { slots, places, memories: Arc::default(), callers, wait_max: WAIT_MAX, salts }
    }

    /// The hash of a password, with a salt of its own, as a text that names its cost (PHC string format). `caller` is the user or the
    /// network that waits for it; one caller has at most an eighth of all places.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, caller: impl ToString, password: Password) -> Result<String, PasswordError> {
        let salt = self.salts.uuid().into_bytes();
        self.in_slot(caller.to_string(), move |memory| hash(&password, &salt, memory)).await
    }

    /// Checks a password against the stored hash, for a caller as in [`PasswordPool::hash`]. Without a hash it takes as long, and the
    /// password is wrong.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn check(
        &self,
        caller: impl ToString,
        password: Password,
        stored: Option<String>,
    ) -> Result<PasswordCheck, PasswordError> {
        let salt = self.salts.uuid().into_bytes();
        self.in_slot(caller.to_string(), move |memory| check(&password, stored.as_deref(), &salt, memory))
            .await
    }

    /// Runs work in a slot. Work that has begun goes on if the caller leaves, and keeps its slot.
    async fn in_slot<T: Send + 'static>(
        &self,
        caller: String,
        work: impl FnOnce(&mut Memory) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let busy = |_| {
            metrics::counter!("password_refusals_total").increment(1);
            PasswordError::Busy
        };
        let share = Callers::place(&self.callers, caller).ok_or(()).map_err(busy)?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| busy(()))?;
        let slot =
            timeout(self.wait_max, Arc::clone(&self.slots).acquire_owned()).await.map_err(|_| busy(()))?;
        let slot = slot.map_err(|_| busy(()))?;
        let memories = Arc::clone(&self.memories);
        let done = task::spawn_blocking(move || {
            let _held = (share, place, slot);
            let mut memory = lock(&memories).pop().unwrap_or_default();
            let outcome = work(&mut memory);
            lock(&memories).push(memory);
            outcome
        });
        done.await.unwrap_or_else(|error| Err(PasswordError::Failed(error.to_string())))
    }
}

impl Callers {
    /// A place of a caller; `None` if they have as many as one caller may have.
    fn place(callers: &Arc<Self>, caller: String) -> Option<CallerPlace> {
        let mut places = lock(&callers.places);
        let count = places.entry(caller.clone()).or_default();
        if *count >= callers.most {
            return None;
        }
        *count = count.saturating_add(1);
        Some(CallerPlace { callers: Arc::clone(callers), caller })
    }
}

impl Drop for CallerPlace {
    fn drop(&mut self) {
        let mut places = lock(&self.callers.places);
        if let Some(count) = places.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                places.remove(&self.caller);
            }
        }
    }
}

impl fmt::Debug for PasswordPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.slots.available_permits();
        f.debug_struct("PasswordPool").field("free_slots", &free).finish_non_exhaustive()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: impl fmt::Display) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

fn hash(password: &Password, salt: &[u8], memory: &mut Memory) -> Result<String, PasswordError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, COST.map_err(failed)?);
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params()).map_err(failed)?,
        salt: Some(Salt::new(salt).map_err(failed)?),
        hash: Some(output(&argon2, password, salt, memory).map_err(failed)?),
    };
    Ok(hash.to_string())
}

fn check(
    password: &Password,
    stored: Option<&str>,
    salt: &[u8],
    memory: &mut Memory,
) -> Result<PasswordCheck, PasswordError> {
    let against = PasswordHash::new(stored.unwrap_or(NO_PASSWORD)).map_err(failed)?;
    let is_right = is_of(&against, password, memory).map_err(failed)?;
    if !is_right || stored.is_none() {
        return Ok(PasswordCheck::Wrong);
    }
    let is_current = is_current(&against, &COST.map_err(failed)?);
    let renewed = if is_current { None } else { Some(hash(password, salt, memory)?) };
    Ok(PasswordCheck::Right { renewed })
}

/// Returns true if a stored hash is that of a password. Compared in constant time.
fn is_of(
    stored: &PasswordHash,
    password: &Password,
    memory: &mut Memory,
) -> Result<bool, password_hash::Error> {
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
        return Ok(false);
    };
    let algorithm = Algorithm::try_from(stored.algorithm.as_str())?;
    let version = stored.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let argon2 = Argon2::new(algorithm, version, Params::try_from(stored)?);
    Ok(output(&argon2, password, salt, memory)? == *expected)
}

/// The bytes that a password is hashed to.
fn output(
    argon2: &Argon2<'_>,
    password: &Password,
    salt: &[u8],
    memory: &mut Memory,
) -> Result<Output, password_hash::Error> {
    let params = argon2.params();
    memory.resize(params.block_count(), Block::new());
    let mut bytes = [0; Output::MAX_LENGTH];
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let bytes = bytes.get_mut(..length).ok_or(password_hash::Error::OutputSize)?;
    argon2.hash_password_into_with_memory(password.bytes(), salt, bytes, memory.as_mut_slice())?;
    Ok(Output::new(bytes)?)
}

/// Returns true if a stored hash was made as new ones are.
fn is_current(stored: &PasswordHash, cost: &Params) -> bool {
    let made_at = Params::try_from(stored);
    let is_same_cost = made_at.is_ok_and(|made_at| {
        (made_at.m_cost(), made_at.t_cost(), made_at.p_cost())
            == (cost.m_cost(), cost.t_cost(), cost.p_cost())
    });
    is_same_cost
        && stored.algorithm == Algorithm::Argon2id.ident()
        && stored.version == Some(Version::V0x13.into())
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};
    use futures_util::{future::join_all, poll};
    use kernel::SeededIds;

    use super::*;

    fn password(text: &str) -> Password {
        Password::presented(&text.into())
    }

    fn pool(slots: usize, queue_per_slot: usize) -> PasswordPool {
        PasswordPool::with_slots(slots, queue_per_slot, Arc::new(SeededIds::new(1)))
    }

    #[tokio::test]
    async fn a_hash_names_its_cost_and_fits_its_password_only() {
        let pool = pool(1, 9);
        let stored = pool.hash("a", password("q8w.x:5z")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, pool.hash("a", password("q8w.x:5z")).await.unwrap(), "salted");
        let checked = |text| pool.check("a", password(text), Some(stored.clone()));
        assert_eq!(checked("q8w.x:5z").await, Ok(PasswordCheck::Right { renewed: None }));
        for other in ["q8w.x:5Z", "q8w.x:5", "q8w.x:5z ", ""] {
            assert_eq!(checked(other).await, Ok(PasswordCheck::Wrong), "{other}");
        }
    }

    #[tokio::test]
    async fn without_a_password_every_one_is_wrong_and_the_work_is_the_same() {
        let no_password = PasswordHash::new(NO_PASSWORD).unwrap();
        assert!(is_current(&no_password, &COST.unwrap()));
        for text in ["", "no password here"] {
            assert_eq!(pool(1, 1).check("a", password(text), None).await, Ok(PasswordCheck::Wrong));
        }
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_renewed_by_the_right_password() {
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
        let stored = cheap.hash_password_with_salt(b"q8w.x:5z", b"salt of a test..").unwrap().to_string();
        let pool = pool(1, 9);
        let Ok(PasswordCheck::Right { renewed: Some(renewed) }) =
            pool.check("a", password("q8w.x:5z"), Some(stored.clone())).await
        else {
            panic!("not renewed");
        };
        assert!(renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
        assert_eq!(
            pool.check("a", password("q8w.x:5z"), Some(renewed)).await,
            Ok(PasswordCheck::Right { renewed: None })
        );
        assert_eq!(pool.check("a", password("wrong one"), Some(stored)).await, Ok(PasswordCheck::Wrong));
    }

    #[tokio::test]
    async fn a_stored_text_that_is_no_hash_is_a_fault_of_ours() {
        let checked = pool(1, 1).check("a", password("q8w.x:5z"), Some("plain text".to_owned())).await;
        assert!(matches!(checked, Err(PasswordError::Failed(_))), "{checked:?}");
    }

    #[tokio::test]
    async fn a_storm_is_refused_beyond_the_queue_and_the_rest_is_served() {
        let pool = pool(1, 3);
        let storm = join_all((0..10).map(|caller| pool.check(caller, password("q8w.x:5z"), None))).await;
        let served = storm.iter().filter(|outcome| **outcome == Ok(PasswordCheck::Wrong)).count();
        let refused = storm.iter().filter(|outcome| **outcome == Err(PasswordError::Busy)).count();
        assert_eq!((served, refused), (4, 6));
        assert_eq!(
            pool.check("a", password("q8w.x:5z"), None).await,
            Ok(PasswordCheck::Wrong),
            "and then again"
        );
    }

    #[tokio::test]
    async fn one_caller_has_an_eighth_of_the_places_and_others_get_in() {
        let pool = pool(1, 31);
        let occupied = Arc::clone(&pool.slots).acquire_owned().await.unwrap();
        let check = |caller: &'static str| Box::pin(pool.check(caller, password("q8w.x:5z"), None));
        let mut waiting: Vec<_> = (0..4).map(|_| check("a")).collect();
        for checked in &mut waiting {
            assert!(poll!(checked).is_pending());
        }
        assert_eq!(check("a").await, Err(PasswordError::Busy));
        let mut other = check("b");
        assert!(poll!(&mut other).is_pending());
        // A place that is left is free again.
        drop(waiting.pop());
        waiting.push(check("a"));
        drop(occupied);
        waiting.push(other);
        assert!(join_all(waiting).await.iter().all(|outcome| *outcome == Ok(PasswordCheck::Wrong)));
        assert!(lock(&pool.callers.places).is_empty());
    }

    #[tokio::test]
    async fn each_slot_keeps_its_memory_and_there_is_no_other() {
        let pool = pool(2, 9);
        for _ in 0..2 {
            let storm = join_all((0..10).map(|caller| pool.check(caller, password("q8w.x:5z"), None))).await;
            assert!(storm.iter().all(|outcome| *outcome == Ok(PasswordCheck::Wrong)));
            let kept: Vec<usize> = lock(&pool.memories).iter().map(Vec::capacity).collect();
            assert!(
                (1..=2).contains(&kept.len()) && kept.iter().all(|blocks| *blocks == 19 * 1_024),
                "{kept:?}"
            );
        }
    }

    /// Earlier content of the memory makes no difference.
    #[tokio::test]
    async fn hashes_are_those_of_the_library() {
        let pool = pool(1, 1);
        for text in ["q8w.x:5z", "密码密码密码密码"] {
            let stored = pool.hash("a", password(text)).await.unwrap();
            let library = Argon2::default();
            assert_eq!(library.verify_password(text.as_bytes(), stored.as_str()), Ok(()));
            let stored = library.hash_password_with_salt(text.as_bytes(), b"salt of a test..").unwrap();
            let checked = pool.check("a", password(text), Some(stored.to_string())).await;
            assert_eq!(checked, Ok(PasswordCheck::Right { renewed: None }));
        }
    }

    #[tokio::test]
    async fn a_caller_who_leaves_the_queue_frees_the_place() {
        let pool = pool(1, 1);
        let occupied = Arc::clone(&pool.slots).acquire_owned().await.unwrap();
        let mut waiting = Box::pin(pool.check(1, password("q8w.x:5z"), None));
        assert!(poll!(&mut waiting).is_pending());
        let mut second = Box::pin(pool.check(2, password("q8w.x:5z"), None));
        assert!(poll!(&mut second).is_pending(), "the place of the slot is free");
        assert_eq!(pool.check(3, password("q8w.x:5z"), None).await, Err(PasswordError::Busy));
        drop(waiting);
        let mut third = Box::pin(pool.check(4, password("q8w.x:5z"), None));
        assert!(poll!(&mut third).is_pending());
        drop(occupied);
        assert_eq!(second.await, Ok(PasswordCheck::Wrong));
        assert_eq!(third.await, Ok(PasswordCheck::Wrong));
    }

    #[tokio::test]
    async fn nobody_waits_for_longer_than_the_limit() {
        let pool = PasswordPool { wait_max: Duration::ZERO, ..pool(1, 1) };
        let occupied = Arc::clone(&pool.slots).acquire_owned().await.unwrap();
        assert_eq!(pool.check("a", password("q8w.x:5z"), None).await, Err(PasswordError::Busy));
        drop(occupied);
        assert_eq!(pool.check("a", password("q8w.x:5z"), None).await, Ok(PasswordCheck::Wrong));
    }

    #[test]
    fn half_of_the_cores_hash_and_at_most_four() {
        for (cores, slots) in [(1, 1), (2, 1), (4, 2), (64, 4)] {
            let pool = PasswordPool::new(NonZero::new(cores).unwrap(), Arc::new(SeededIds::new(1)));
            assert_eq!(pool.slots.available_permits(), slots, "{cores}");
        }
    }
}
