//! Where bytes come from and where they go.

use alloc::vec::Vec;

use crate::error::{ErrorKind, Result};

/// Bytes that can be read at any offset: a slice, a file, a memory map.
///
/// Reading never moves a cursor, so one source serves many readers.
pub trait Source {
    /// The size in bytes.
    fn len(&self) -> u64;

    /// Reads at most `buf.len()` bytes at `offset` and says how many; 0 only at the end or for an empty `buf`.
    /// Reading short is allowed.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// True when there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`, or fails.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            match self.read_at(at, &mut buf[done..])? {
                0 => return Err(ErrorKind::Source { at, len: (buf.len() - done) as u64, errno: None }.into()),
                // A source that claims to have read more than it was asked for must not make us index past the end.
                read => done = done.saturating_add(read).min(buf.len()),
            }
        }
        Ok(())
    }
}

/// Where a package is written, front to back.
pub trait Sink {
    /// Writes all of `bytes`.
    fn write_all(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let read = rest.len().min(buf.len());
        buf[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        Source::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.as_slice().read_at(offset, buf)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        (**self).read_at(offset, buf)
    }
}

#[cfg(not(feature = "std"))]
impl Sink for Vec<u8> {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(feature = "std")]
mod with_std {
    use super::{Result, Sink, Source};
    use crate::error::ErrorKind;

    impl Source for std::fs::File {
        fn len(&self) -> u64 {
            self.metadata().map_or(0, |metadata| metadata.len())
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
            #[cfg(unix)]
            use std::os::unix::fs::FileExt;
            #[cfg(windows)]
            use std::os::windows::fs::FileExt;
            loop {
                #[cfg(unix)]
                let read = FileExt::read_at(self, buf, offset);
                #[cfg(windows)]
                let read = self.seek_read(buf, offset);
                match read {
                    Ok(read) => return Ok(read),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        return Err(ErrorKind::Source {
                            at: offset,
                            len: buf.len() as u64,
                            errno: error.raw_os_error(),
                        }
                        .into());
                    }
                }
            }
        }
    }

    impl<W: std::io::Write> Sink for W {
        fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
            std::io::Write::write_all(self, bytes)
                .map_err(|error| ErrorKind::Sink { len: bytes.len() as u64, errno: error.raw_os_error() }.into())
        }
    }
}
