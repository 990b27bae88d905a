//! A package as it lies there: its parts found and inside the file, nothing believed yet.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::container::{self, Decoded};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Part, Result, Value as Shown};
use crate::format::{Descriptor, FORMAT_VERSION, Index, index, slot, trailer};
use crate::limits;
use crate::slot::SlotReader;
use crate::source::Source;
use crate::{number, text};

/// An opened package. Its numbers are consistent with the size of the file; whether anybody vouches for them,
/// [`verify`](Self::verify) says.
#[derive(Debug, Clone)]
pub struct Package<S> {
    source: S,
    index: Box<Index>,
    container: Vec<u8>,
    table: Vec<Descriptor>,
}

impl<S: Source> Package<S> {
    /// Finds the index at the end of the file and checks that everything it names lies inside the file.
    ///
    /// Fails with [`ErrorKind::NotAPackage`] when there is no index, with [`ErrorKind::Malformed`] or
    /// [`ErrorKind::TooLarge`] naming the field when there is one that cannot be, and with [`ErrorKind::Source`] when
    /// the bytes cannot be read.
    pub fn open(source: S) -> Result<Self> {
        let size = source.len();
        let trailer_offset = size.checked_sub(trailer::SIZE as u64).ok_or(ErrorKind::NotAPackage { size })?;
        let mut block = Box::new([0; trailer::SIZE]);
        source.read_exact_at(trailer_offset, &mut *block)?;
        let index = trailer::index_of(&block).ok_or(ErrorKind::NotAPackage { size })?;
        let index = Box::new(Index::from_block(*index));
        check_index(&index, size, trailer_offset)?;

        let container = read(&source, index.metadata_offset(), index.metadata_size())?;
        let bytes = read(&source, index.table_offset(), index.table_size())?;
        let (blocks, _) = bytes.as_chunks::<{ slot::SIZE }>();
        let mut table = Vec::with_capacity(blocks.len());
        for (i, block) in (0..).zip(blocks) {
            let descriptor = Descriptor::from_block(block);
            check_descriptor(i, &descriptor, &index, trailer_offset)?;
            table.push(descriptor);
        }
        Ok(Self { source, index, container, table })
    }

    /// The bytes behind the package.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The slot table.
    pub fn table(&self) -> &[Descriptor] {
        &self.table
    }

    /// The metadata's container, as stored.
    pub fn container(&self) -> &[u8] {
        &self.container
    }

    /// The JSON text, after its container's digest was compared with the index.
    pub fn json(&self) -> Result<Vec<u8>> {
        self.decoded().map(|decoded| decoded.json)
    }

    pub(crate) fn decoded(&self) -> Result<Decoded> {
        let found = Digest::of(&self.container);
        if found != self.index.metadata_digest() {
            return Err(Error::malformed(
                Part::Container,
                self.index.metadata_offset(),
                self.index.metadata_digest(),
                found,
            ));
        }
        container::decode(&self.container)
    }

    /// Reads a slot whose package nobody vouched for: to look inside, not to run. It yields no proof.
    /// At most `cap` bytes come out.
    pub fn unverified_slot(&self, index: u32, cap: u64) -> Result<SlotReader<'_>> {
        let descriptor = self.descriptor(index)?;
        SlotReader::unverified(&self.source, index, descriptor, cap)
    }

    /// The descriptor of a slot.
    pub fn descriptor(&self, index: u32) -> Result<&Descriptor> {
        self.table.get(index as usize).ok_or_else(|| {
            let (index, count) = (number::decimal(index.into()), number::decimal(self.table.len() as u64));
            Error::parameter(text::concat(&["there is no slot ", &index, ": the package has ", &count, " slots"]))
        })
    }
}

#[inline(never)]
fn check_index(index: &Index, size: u64, trailer_offset: u64) -> Result<()> {
    let at = trailer_offset + trailer::START_MAGIC.len() as u64;
    let field = |name, expected: u64, found: u64| {
        if expected == found { Ok(()) } else { Err(Error::malformed(Part::Index(name), at, expected, found)) }
    };
    if index.format_version() != FORMAT_VERSION {
        let (expected, found) = (u64::from(FORMAT_VERSION), u64::from(index.format_version()));
        return Err(Error::malformed(Part::Index("format_version"), at, Shown::Hex(expected), Shown::Hex(found)));
    }
    field("index_checksum", index.computed_checksum().into(), index.checksum().into())?;
    field("package_size", size, index.package_size())?;
    let table_size = u64::from(index.slot_count()) * slot::SIZE as u64;
    if index.slot_count() > limits::SLOTS {
        return Err(Error::too_large("slots", limits::SLOTS.into(), index.slot_count().into()));
    }
    field("slot_table_size", table_size, index.table_size())?;
    if index.metadata_size() > limits::METADATA_READ {
        return Err(Error::too_large("metadata in stored bytes", limits::METADATA_READ, index.metadata_size()));
    }
    // In file order, each part after the one before it, so that nothing overlaps.
    let follows = |name, offset: u64, size: u64, after: u64| {
        let end = offset.checked_add(size).filter(|end| offset >= after && *end <= trailer_offset);
        end.ok_or_else(|| Error::malformed(Part::Index(name), at, between(size, after, trailer_offset), offset))
    };
    let launcher_end = follows("launcher_size", 0, index.launcher_size(), 0)?;
    let metadata_end = follows("metadata_offset", index.metadata_offset(), index.metadata_size(), launcher_end)?;
    follows("slot_table_offset", index.table_offset(), index.table_size(), metadata_end)?;
    Ok(())
}

fn check_descriptor(i: u32, descriptor: &Descriptor, index: &Index, trailer_offset: u64) -> Result<()> {
    // Go's builder gives an empty slot the offset 0 (docs/format.md section 1).
    if descriptor.size == 0 && descriptor.offset == 0 {
        return Ok(());
    }
    let start = index.table_offset() + index.table_size();
    let end = descriptor.offset.checked_add(descriptor.size);
    if descriptor.offset >= start && end.is_some_and(|end| end <= trailer_offset) {
        return Ok(());
    }
    let at = index.table_offset() + u64::from(i) * slot::SIZE as u64;
    Err(Error::malformed(
        Part::Descriptor(i, "offset"),
        at,
        between(descriptor.size, start, trailer_offset),
        descriptor.offset,
    ))
}

#[cold]
fn between(size: u64, start: u64, end: u64) -> Shown {
    let [size, start, end] = [size, start, end].map(number::decimal);
    Shown::Text(text::concat(&[&size, " bytes between bytes ", &start, " and ", &end]).into())
}

/// Reads a part whose size was checked against the limits and the file.
fn read(source: &dyn Source, offset: u64, size: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    source.read_exact_at(offset, &mut bytes)?;
    Ok(bytes)
}

const _: () = assert!(index::SIZE + 8 == trailer::SIZE);
