//! A session's input buffer, and the worker's stock of storage for it.
//!
//! An empty [`Buffer`] owns no storage: a session takes some from its worker's [`BufferPool`] when
//! a socket has bytes, and gives it back when they have gone. So ten thousand idle sessions hold
//! none. Never shared between workers.

use std::cell::RefCell;

use super::pipe::{Pipe, PipePool};

/// Bytes of one piece of storage. What a single read can bring.
pub const BUFFER_SIZE: usize = 16 << 10;

/// The same for a side whose last read has filled all the room that there was: a bulk transfer
/// takes fewer system calls, while messages find their storage in the processor's cache.
pub const BULK_SIZE: usize = 128 << 10;

/// Pieces that a worker keeps for reuse; more are freed.
const KEPT: usize = 256;
/// The same of those for bulk.
const KEPT_BULK: usize = 16;

/// The largest piece that is kept of what waited to be written: small, since sessions that wait in
/// line keep their bytes in such.
const KEPT_OUTPUT: usize = 1 << 10;

/// Storage that a worker's sessions take turns with.
#[derive(Debug, Default)]
pub struct BufferPool {
    free: RefCell<Vec<Vec<u8>>>,
    bulk: RefCell<Vec<Vec<u8>>>,
    /// Empty, of whatever capacity.
    outputs: RefCell<Vec<Vec<u8>>>,
    pipes: PipePool,
}

impl BufferPool {
    /// A pool that is empty at first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives no pipe any more: they do not work here.
    pub fn refuse_pipes(&self) {
        self.pipes.refuse();
    }

    /// An empty vector for bytes that wait to be written, which may have room already.
    pub fn take_output(&self) -> Vec<u8> {
        self.outputs.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes back the storage of bytes that have gone.
    pub fn give_output(&self, mut storage: Vec<u8>) {
        let mut outputs = self.outputs.borrow_mut();
        if (1..=KEPT_OUTPUT).contains(&storage.capacity()) && outputs.len() < KEPT {
            storage.clear();
            outputs.push(storage);
        }
    }

    fn take(&self, size: usize) -> Vec<u8> {
        let free = if size == BULK_SIZE {
            &self.bulk
        } else {
            &self.free
        };
        let reused = free.borrow_mut().pop();
        reused.unwrap_or_else(|| vec![0; size])
    }

    fn give(&self, storage: Vec<u8>) {
        let (free, most) = match storage.len() {
            BUFFER_SIZE => (&self.free, KEPT),
            BULK_SIZE => (&self.bulk, KEPT_BULK),
            // Of a session that was parked.
            _ => return self.give_output(storage),
        };
        let mut free = free.borrow_mut();
        if free.len() < most {
            free.push(storage);
        }
    }
}

/// Where the next read of a side goes.
#[derive(Debug)]
pub enum Room<'a> {
    /// Into memory.
    Memory(&'a mut [u8]),
    /// Into a pipe that is empty, so many bytes at most.
    Pipe(&'a Pipe, usize),
}

/// Bytes that pass from one side to the other.
#[derive(Debug, Clone, Copy)]
pub enum Passing<'a> {
    /// In memory.
    Memory(&'a [u8]),
    /// All that a pipe holds.
    Pipe(&'a Pipe),
}

/// Bytes read from one side and not yet gone to the other, in order: in memory, or in a pipe, where
/// nobody sees them.
#[derive(Debug, Default)]
pub struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
    /// While this holds bytes, the storage does not.
    pipe: Option<Box<Pipe>>,
}

impl Buffer {
    /// Bytes held.
    pub fn len(&self) -> usize {
        self.end - self.start + self.pipe.as_ref().map_or(0, |pipe| pipe.held())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes held in memory, oldest first.
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// The pipe that holds bytes, if one does.
    pub fn piped(&self) -> Option<&Pipe> {
        self.pipe.as_deref().filter(|pipe| pipe.held() > 0)
    }

    /// A pipe for the next read, in the place of storage. None where there is something in this
    /// buffer, or the pool has no more pipes.
    pub fn pipe(&mut self, pool: &BufferPool) -> Option<&Pipe> {
        if !self.is_empty() {
            return None;
        }
        let pipe = self.pipe.take().or_else(|| pool.pipes.take());
        self.pipe = pipe.filter(|_| !pool.pipes.are_refused());
        self.pipe.as_deref()
    }

    /// Drops the `count` oldest bytes; at most all of them. Those in a pipe go all at once.
    pub fn consume(&mut self, count: usize) {
        if count > 0 && self.piped().is_some() {
            debug_assert!(count >= self.len(), "{count} bytes out of a pipe");
            self.pipe = None;
            return;
        }
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Keeps the `count` oldest bytes and drops the rest. Those in a pipe stay or go all at once.
    pub fn truncate(&mut self, count: usize) {
        if count < self.len() {
            self.pipe = None;
        }
        self.end = self.end.min(self.start.saturating_add(count));
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room for the next read, at least one byte unless `limit` bytes are held already. `hungry`:
    /// the last read filled all that there was.
    pub fn space(&mut self, pool: &BufferPool, limit: usize, hungry: bool) -> &mut [u8] {
        let size = if hungry && limit >= BULK_SIZE {
            BULK_SIZE
        } else {
            BUFFER_SIZE
        };
        if self.is_empty() && self.storage.len() < size && !self.storage.is_empty() {
            pool.give(std::mem::replace(&mut self.storage, pool.take(size)));
        }
        if self.storage.len() < BUFFER_SIZE {
            // None yet, or what was parked: that goes into whole storage again.
            let parked = std::mem::replace(&mut self.storage, pool.take(size));
            let held = &parked[self.start..self.end];
            self.storage[..held.len()].copy_from_slice(held);
            (self.start, self.end) = (0, held.len());
            pool.give(parked);
        }
        if self.end == self.storage.len() {
            if self.start > 0 {
                self.storage.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                let grown = (self.storage.len() * 2).min(limit.max(BUFFER_SIZE));
                if grown > self.storage.len() {
                    self.storage.resize(grown, 0);
                }
            }
        }
        let room = limit.saturating_sub(self.len());
        let end = self.storage.len().min(self.end.saturating_add(room));
        &mut self.storage[self.end..end]
    }

    /// Says that a read has put `count` bytes at the start of [`Buffer::space`], or into
    /// [`Buffer::pipe`]. True if there is no more room in the storage, or would not have been.
    pub fn filled(&mut self, count: usize) -> bool {
        if self.piped().is_some() {
            return count >= BUFFER_SIZE;
        }
        self.end = (self.end + count).min(self.storage.len());
        self.end == self.storage.len()
    }

    /// Gives the storage back if nothing is in it, and the pipe likewise.
    pub fn settle(&mut self, pool: &BufferPool) {
        if self.start == self.end && self.storage.capacity() > 0 {
            pool.give(std::mem::take(&mut self.storage));
            self.start = 0;
            self.end = 0;
        }
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.held() == 0) {
            pool.pipes.give(pipe);
        }
    }

    /// Moves few bytes into storage of about their size, for a session that has to wait in line.
    pub fn park(&mut self, pool: &BufferPool) {
        const WORTH_IT: usize = BUFFER_SIZE / 4;
        if self.storage.len() == BUFFER_SIZE && self.len() <= WORTH_IT {
            let mut parked = pool.take_output();
            parked.extend_from_slice(self.bytes());
            self.start = 0;
            self.end = parked.len();
            pool.give(std::mem::replace(&mut self.storage, parked));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn put(buffer: &mut Buffer, pool: &BufferPool, bytes: &[u8], limit: usize) -> usize {
        let space = buffer.space(pool, limit, false);
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        buffer.filled(count);
        count
    }

    #[test]
    fn an_empty_buffer_holds_no_storage() {
        let pool = BufferPool::new();
        let mut buffer = Buffer::default();
        assert_eq!(put(&mut buffer, &pool, b"hello", 1 << 16), 5);
        buffer.consume(5);
        buffer.settle(&pool);
        assert_eq!(buffer.storage.capacity(), 0);
        assert_eq!(pool.free.borrow().len(), 1);
    }

    #[test]
    fn a_read_that_fills_its_room_gets_more_of_it_next_time() {
        let pool = BufferPool::new();
        let mut buffer = Buffer::default();
        let bytes = vec![b'x'; BULK_SIZE];
        let mut hungry = false;
        for (sent, room) in [
            (100, BUFFER_SIZE),
            (BUFFER_SIZE, BUFFER_SIZE),
            (BULK_SIZE, BULK_SIZE),
            (100, BULK_SIZE),
            (100, BUFFER_SIZE),
        ] {
            let space = buffer.space(&pool, BULK_SIZE, hungry);
            assert_eq!(space.len(), room, "for {sent}");
            space[..sent].copy_from_slice(&bytes[..sent]);
            hungry = buffer.filled(sent);
            assert_eq!(buffer.bytes(), &bytes[..sent]);
            buffer.consume(sent);
            buffer.settle(&pool);
        }
        assert_eq!(pool.bulk.borrow().len(), 1);
        let less = buffer.space(&pool, BUFFER_SIZE, true).len();
        assert_eq!(less, BUFFER_SIZE, "where less may be held");
    }

    #[test]
    fn never_holds_more_than_the_limit_and_keeps_order() {
        let pool = BufferPool::new();
        let mut buffer = Buffer::default();
        let limit = BUFFER_SIZE * 3;
        let bytes: Vec<u8> = (0..limit + 100).map(|n| (n % 251) as u8).collect();
        let mut written = 0;
        loop {
            let count = put(&mut buffer, &pool, &bytes[written..], limit);
            if count == 0 {
                break;
            }
            written += count;
        }
        assert_eq!(buffer.len(), limit);
        assert_eq!(buffer.bytes(), &bytes[..limit]);
        buffer.consume(10);
        assert_eq!(put(&mut buffer, &pool, &bytes[limit..], limit), 10);
        assert_eq!(buffer.bytes(), &bytes[10..limit + 10]);
    }

    #[test]
    fn a_parked_buffer_can_be_read_into_again() {
        let pool = BufferPool::new();
        let mut buffer = Buffer::default();
        put(&mut buffer, &pool, b"GET a", 1 << 16);
        buffer.park(&pool);
        assert_eq!(buffer.storage.len(), 5);
        put(&mut buffer, &pool, b"GET b", 1 << 16);
        assert_eq!(buffer.bytes(), b"GET aGET b");
        assert_eq!(pool.free.borrow().len(), 0, "the storage that it gave away");
    }
}
