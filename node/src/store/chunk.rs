//! A column of a segment as a chunk of a Parquet file: pages, compressed or not, a dictionary before them.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

/// Level 1 looks for no matches in noise, and finds in the rest almost what higher levels do.
pub const LEVEL: i32 = 1;

/// The pages of one column.
pub struct Chunk {
    column: ColumnDescPtr,
    encoding: Encoding,
    is_compressed: bool,
    pages: Vec<Laid>,
}

/// A page, ready to be written.
struct Laid {
    bytes: Vec<u8>,
    uncompressed: usize,
    rows: usize,
    /// Bytes of texts in it.
    texts: Option<i64>,
}

impl Chunk {
    pub fn new(column: ColumnDescPtr, encoding: Encoding, is_compressed: bool) -> Chunk {
        Chunk { column, encoding, is_compressed, pages: Vec::new() }
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Adds a page of rows; `texts` is how many bytes texts have in it, in a column of texts.
    pub fn page(
        &mut self,
        body: &[u8],
        rows: usize,
        texts: usize,
        zstd: &mut Compressor,
    ) -> std::io::Result<()> {
        let bytes = match self.is_compressed {
            true => zstd.compress(body)?,
            false => body.to_vec(),
        };
        let texts = (self.column.physical_type() == Type::BYTE_ARRAY).then_some(texts as i64);
        self.pages.push(Laid { bytes, uncompressed: body.len(), rows, texts });
        Ok(())
    }

    /// The bytes of the chunk and what the file says of it. `dictionary`: what indices are looked up in, and how
    /// many values that is.
    pub fn close(
        self,
        dictionary: Option<(&[u8], usize)>,
        statistics: Option<Statistics>,
        zstd: &mut Compressor,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        let room = self.pages.iter().map(|page| page.bytes.len() + 64).sum::<usize>() + 1024;
        let mut sink = TrackedWrite::new(Vec::with_capacity(room));
        let mut writer = SerializedPageWriter::new(&mut sink);
        let (mut uncompressed, mut compressed, mut rows) = (0, 0, 0);
        let mut kinds = Vec::new();
        if let Some((values, count)) = dictionary {
            let buf = if self.is_compressed { zstd.compress(values)? } else { values.to_vec() };
            let page = Page::DictionaryPage {
                buf: buf.into(),
                num_values: count as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            let spec = writer.write_page(CompressedPage::new(page, values.len()))?;
            (uncompressed, compressed) = (spec.uncompressed_size, spec.compressed_size);
            kinds.push((PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
        }
        let data_at = compressed;
        let mut index = OffsetIndexBuilder::new();
        kinds.push((PageType::DATA_PAGE, self.encoding, self.pages.len() as i32));
        for page in self.pages {
            let written = Page::DataPage {
                buf: page.bytes.into(),
                num_values: page.rows as u32,
                encoding: self.encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let spec = writer.write_page(CompressedPage::new(written, page.uncompressed))?;
            uncompressed += spec.uncompressed_size;
            compressed += spec.compressed_size;
            rows += page.rows;
            index.append_row_count(page.rows as i64);
            index.append_offset_and_size(spec.offset as i64, spec.compressed_size as i32);
            index.append_unencoded_byte_array_data_bytes(page.texts);
        }
        let compression = match self.is_compressed {
            true => Compression::ZSTD(ZstdLevel::try_new(LEVEL)?),
            false => Compression::UNCOMPRESSED,
        };
        let mut encodings = vec![Encoding::RLE, self.encoding];
        encodings.extend(dictionary.map(|_| Encoding::PLAIN));
        let stats = |(page_type, encoding, count)| PageEncodingStats { page_type, encoding, count };
        let mut metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(compression)
            .set_encodings(encodings)
            .set_page_encoding_stats(kinds.into_iter().map(stats).collect())
            .set_total_compressed_size(compressed as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(rows as i64)
            .set_data_page_offset(data_at as i64)
            .set_dictionary_page_offset(dictionary.map(|_| 0));
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: compressed as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(index.build()),
        };
        Ok((sink.into_inner()?.into(), close))
    }
}
