//! Bytes in passing: buffers and pipes, borrowed from the worker while there is something in them.

mod buffer;
mod pipe;

pub use buffer::{BUFFER_SIZE, BULK_SIZE, Buffer, BufferPool, Passing, Room};
pub use pipe::{PIPE_SIZE, Pipe, is_unsupported};
