//! How often a letter asks for memory on its way, and for how much: rendered from its row's values, written as a request,
//! sent to a receiver, its answer read. Not a time, so Criterion is not asked.
//!
//! Only the sender's thread is counted, which does all of it; the receiver has its own. Memory that grows counts again,
//! with its new size. What is kept from letter to letter (connections, their buffers) is there before anything is counted.

use std::sync::Arc;

use allocation_counter::measure;
use fanfare_benches::{MESSAGE, brevo, letter, receiver::Receiver, renewal_letter};
use fanfare_engine::{
    deliver::plans::CompiledVariant,
    domain::{channel::MessageClass, outcome::Outcome, token::ShownLinks},
    id::MessageId,
    providers::{Adapter, Envelope},
};
use fanfare_templates::Rendered;
use futures::{StreamExt as _, stream};
use tokio::runtime::{Builder, Runtime};

const LETTERS: i32 = 5_000;
const WARM_UP: i32 = 1_000;

struct Sender {
    runtime: Runtime,
    adapter: Arc<dyn Adapter>,
    template: CompiledVariant,
    /// As a recipient's row has them.
    values: String,
}

impl Sender {
    fn new(receiver: &Receiver) -> Self {
        let (compiled, locale) = letter();
        Self {
            runtime: Builder::new_current_thread().enable_all().build().expect("a runtime"),
            adapter: brevo(receiver.base_url()).expect("sound settings"),
            template: CompiledVariant { locale, compiled, shown: ShownLinks::default(), tracked: Vec::new() },
            values: format!("[{}]", renewal_letter().sample),
        }
    }

    fn render(&self) -> Rendered {
        self.template.render(&self.values, Vec::new()).expect("the sample fits")
    }

    fn envelope<'a>(&self, n: i32, content: &'a Rendered) -> Envelope<'a> {
        let message = MessageId { n, ..MESSAGE };
        Envelope {
            message,
            to: "p000123456@mail1.example",
            class: MessageClass::Obligation,
            content,
            key: message.idempotency_key(1),
            unsubscribe: None,
        }
    }

    async fn letter(&self, n: i32) {
        let content = self.render();
        let answer = self.adapter.send(self.envelope(n, &content));
        drop(content);
        let outcome = answer.await.outcome;
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }

    /// So many letters at once.
    fn letters(&self, count: i32, at_once: usize) {
        self.runtime.block_on(stream::iter(0..count).for_each_concurrent(at_once, |n| self.letter(n)));
    }
}

fn report(what: &str, work: impl FnOnce()) {
    let counted = measure(work);
    let each = |sum: u64| sum as f64 / f64::from(LETTERS);
    println!(
        "{what:<34} {:>8.1} allocations {:>10.0} bytes a letter",
        each(counted.count_total),
        each(counted.bytes_total)
    );
}

fn main() {
    let receiver = Receiver::start();
    let sender = Sender::new(&receiver);
    sender.letters(WARM_UP, 64);
    report("render", || (0..LETTERS).for_each(|_| drop(sender.render())));
    let content = sender.render();
    // A request is written when it is asked for, and sent when it is polled, which these never are.
    report("encode", || (0..LETTERS).for_each(|n| drop(sender.adapter.send(sender.envelope(n, &content)))));
    report("render, encode, send, answer: 1", || sender.letters(LETTERS, 1));
    report("render, encode, send, answer: 64", || sender.letters(LETTERS, 64));
}
