//! What many requests ask of the database at the same time, asked as one.
//!
//! While one statement is under way, whoever comes meanwhile waits, and all of them are the next one: so the number of round
//! trips and of commits follows the speed of the database and not the number of requests, and a request that comes alone waits for
//! nobody. Nothing is remembered: each is answered by a statement that began after it had asked.
//!
//! Who a token speaks for is asked like this, and what was read is noted like this ([`crate::routes::Work::seen`]): the note is
//! committed before the answer that shows what was read.

use std::sync::Arc;

use fanfare_engine::{
    id::SessionId,
    store::{
        Store, StoreResult,
        api_keys::{self, KeyHolder},
        audit::{self, Deed},
        held::Held,
        sessions::TokenHash,
        users::{self, SessionUser},
    },
};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::http::problem::{Code, Problem};

/// Questions of one statement.
const MOST: usize = 256;

#[derive(Debug)]
struct Asked<Q, A> {
    question: Q,
    answer: oneshot::Sender<Result<A, Problem>>,
}

/// One kind of question; cheap to clone.
#[derive(Debug)]
pub(crate) struct Ask<Q, A>(mpsc::Sender<Asked<Q, A>>);

impl<Q, A> Clone for Ask<Q, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q, A> Ask<Q, A> {
    fn new() -> (Self, Answerer<Q, A>) {
        let (sender, asked) = mpsc::channel(MOST);
        (Self(sender), Answerer(Arc::new(Mutex::new(asked))))
    }

    pub(crate) async fn ask(&self, question: Q) -> Result<A, Problem> {
        let (answer, told) = oneshot::channel();
        self.0.send(Asked { question, answer }).await.map_err(|_| Code::Away)?;
        told.await.map_err(|_| Code::Away)?
    }
}

/// Several may answer at the same time.
#[derive(Debug)]
struct Answerer<Q, A>(Arc<Mutex<mpsc::Receiver<Asked<Q, A>>>>);

impl<Q, A> Clone for Answerer<Q, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q, A> Answerer<Q, A> {
    /// Runs until every [`Ask`] is gone. `find` answers in the order of the questions.
    async fn run<F: Future<Output = StoreResult<Vec<A>>>>(self, find: impl Fn(Vec<Q>) -> F) {
        let mut together = Vec::new();
        while self.0.lock().await.recv_many(&mut together, MOST).await > 0 {
            let (questions, waiting): (Vec<Q>, Vec<_>) =
                together.drain(..).map(|asked| (asked.question, asked.answer)).unzip();
            // Whoever has gone away does not want to know.
            match find(questions).await {
                Ok(answers) => {
                    waiting.into_iter().zip(answers).for_each(|(one, answer)| drop(one.send(Ok(answer))))
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    waiting.into_iter().for_each(|one| drop(one.send(Err(problem.clone()))));
                }
            }
        }
    }
}

/// What requests ask together.
#[derive(Debug, Clone)]
pub(crate) struct Together {
    /// Who a key speaks for, if it is good.
    pub(crate) keys: Ask<TokenHash, Option<KeyHolder>>,
    /// Whose session it is, if it is good.
    pub(crate) sessions: Ask<SessionId, Option<SessionUser>>,
    /// Notes a deed: what was only read has no transaction that could hold the note.
    pub(crate) deeds: Ask<Deed, ()>,
}

/// Answers them.
#[derive(Debug)]
pub(crate) struct Answerers {
    store: Store,
    keys: Answerer<TokenHash, Option<KeyHolder>>,
    sessions: Answerer<SessionId, Option<SessionUser>>,
    deeds: Answerer<Deed, ()>,
}

impl Together {
    pub(crate) fn new(store: Store) -> (Self, Answerers) {
        let ((keys, key_answers), (sessions, session_answers)) = (Ask::new(), Ask::new());
        let (deeds, deed_answers) = Ask::new();
        let answerers =
            Answerers { store, keys: key_answers, sessions: session_answers, deeds: deed_answers };
        (Self { keys, sessions, deeds }, answerers)
    }
}

impl Answerers {
    /// Runs until every [`Together`] is gone and everybody has their answer.
    pub(crate) async fn run(self) {
        tokio::join!(
            self.keys.run(answered(&self.store, key_holders)),
            self.sessions.run(answered(&self.store, session_users)),
            // While one waits for the disk, the other gathers.
            self.deeds.clone().run(answered(&self.store, note)),
            self.deeds.run(answered(&self.store, note)),
        );
    }
}

/// Answers over a connection of its own.
fn answered<Q, F>(store: &Store, find: impl Fn(Held, Vec<Q>) -> F) -> impl Fn(Vec<Q>) -> F {
    let held = Held::new(store.clone());
    move |questions| find(held.clone(), questions)
}

async fn key_holders(held: Held, hashes: Vec<TokenHash>) -> StoreResult<Vec<Option<KeyHolder>>> {
    let mut connection = held.take().await?;
    let holders = api_keys::holders(&mut connection, &hashes).await?;
    held.keep(connection);
    Ok(holders)
}

async fn session_users(held: Held, sessions: Vec<SessionId>) -> StoreResult<Vec<Option<SessionUser>>> {
    let mut connection = held.take().await?;
    let users = users::of_sessions(&mut connection, &sessions).await?;
    held.keep(connection);
    Ok(users)
}

async fn note(held: Held, deeds: Vec<Deed>) -> StoreResult<Vec<()>> {
    let mut connection = held.take().await?;
    audit::append_all(&mut *connection, &deeds).await?;
    held.keep(connection);
    Ok(vec![(); deeds.len()])
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use fanfare_engine::store::StoreError;
    use tokio::{sync::Semaphore, task::JoinSet};

    use super::*;

    #[tokio::test]
    async fn whoever_comes_while_one_is_under_way_is_asked_with_the_others() {
        let (ask, answerer) = Ask::<u32, u32>::new();
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (passing, seen) = (Arc::clone(&gate), Arc::clone(&batches));
        let mut tasks = JoinSet::new();
        tasks.spawn(answerer.run(move |questions| {
            seen.lock().expect("sound").push(questions.len());
            let passing = Arc::clone(&passing);
            async move {
                passing.acquire().await.expect("open").forget();
                if questions.contains(&13) {
                    return Err(StoreError::Conflict("unlucky".to_owned()));
                }
                Ok(questions.iter().map(|question| question * 2).collect())
            }
        }));
        let mut callers = JoinSet::new();
        let mut come = |question: u32| {
            let ask = ask.clone();
            callers.spawn(async move { (question, ask.ask(question).await) });
        };
        come(1);
        while batches.lock().expect("sound").is_empty() {
            tokio::task::yield_now().await;
        }
        (2..=9).for_each(&mut come);
        while ask.0.capacity() > MOST - 8 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        for (question, answer) in callers.join_all().await {
            assert_eq!(answer, Ok(question * 2));
        }
        assert_eq!(*batches.lock().expect("sound"), [1, 8]);
        gate.add_permits(1);
        assert_eq!(ask.ask(13).await.expect_err("unlucky").code(), Code::Conflict);
        drop(ask);
        tasks.join_all().await;
    }
}
