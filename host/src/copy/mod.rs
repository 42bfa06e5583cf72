//! Buffers for bytes in passing: borrowed from the worker while there is something in them.

mod buffer;

pub use buffer::{BUFFER_SIZE, BULK_SIZE, Buffer, BufferPool};
