//! A column of a segment as a chunk of a Parquet file: pages, compressed or not, a dictionary before them.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
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
    pages: Vec<Done>,
}

/// A page, ready to be written.
struct Done {
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

    /// Adds a page of rows; `texts` is how many bytes texts have in it, where that is known.
    pub fn page(
        &mut self,
        body: &[u8],
        rows: usize,
        texts: Option<usize>,
        zstd: &mut Compressor,
    ) -> std::io::Result<()> {
        let bytes = match self.is_compressed {
            true => zstd.compress(body)?,
            false => body.to_vec(),
        };
        let texts = texts.map(|texts| texts as i64);
        self.pages.push(Done { bytes, uncompressed: body.len(), rows, texts });
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, BooleanArray, Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};
    use parquet::arrow::ArrowSchemaConverter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use proptest::prelude::*;

    use super::*;
    use crate::store::pages;

    /// Writes a column of pages and reads it with the reader of the library.
    fn read_back(
        kind: DataType,
        encoding: Encoding,
        pages: &[(Vec<u8>, usize)],
        dictionary: Option<(&[u8], usize)>,
    ) -> ArrayRef {
        let schema = Schema::new(vec![Field::new(
            "column",
            kind,
            dictionary.is_some() || encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY,
        )]);
        let descr = ArrowSchemaConverter::new().convert(&schema).unwrap();
        let mut zstd = Compressor::new(LEVEL).unwrap();
        let mut chunk = Chunk::new(descr.column(0), encoding, true);
        for (body, rows) in pages {
            chunk.page(body, *rows, None, &mut zstd).unwrap();
        }
        let (bytes, close) = chunk.close(dictionary, None, &mut zstd).unwrap();
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(Vec::new(), descr.root_schema_ptr(), properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        group.append_column(&bytes, close).unwrap();
        group.close().unwrap();
        let file = Bytes::from(writer.into_inner().unwrap());
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        assert_eq!(batches.len(), 1);
        batches[0].column(0).clone()
    }

    fn near() -> impl Strategy<Value = Vec<i64>> {
        proptest::collection::vec(-3i64..40, 1..700)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn deltas_are_read_back(values in prop_oneof![near(), proptest::collection::vec(any::<i64>(), 1..300)], again in near()) {
            let page = |values: &[i64]| {
                let mut body = Vec::new();
                pages::deltas(values, &mut body);
                (body, values.len())
            };
            let read = read_back(DataType::Int64, Encoding::DELTA_BINARY_PACKED, &[page(&values), page(&again)], None);
            let all = [values, again].concat();
            prop_assert_eq!(read.as_primitive::<Int64Type>(), &Int64Array::from(all));
        }

        #[test]
        fn texts_are_read_back(values in proptest::collection::vec(proptest::option::of("[a-z0-9]{0,20}"), 1..400)) {
            let mut body = Vec::new();
            let there: Vec<u32> = values.iter().map(|value| u32::from(value.is_some())).collect();
            pages::levels(&there, &mut body);
            let lens: Vec<i64> = values.iter().flatten().map(|text| text.len() as i64).collect();
            pages::deltas(&lens, &mut body);
            values.iter().flatten().for_each(|text| body.extend(text.as_bytes()));
            let read = read_back(DataType::Utf8, Encoding::DELTA_LENGTH_BYTE_ARRAY, &[(body, values.len())], None);
            prop_assert_eq!(read.as_string::<i32>(), &StringArray::from(values));
        }

        #[test]
        fn names_are_read_back(names in 1usize..300, values in proptest::collection::vec(proptest::option::of(any::<u32>()), 1..900), nulls in any::<bool>()) {
            let values: Vec<Option<u32>> = values
                .into_iter()
                .map(|value| value.map(|value| value % names as u32).filter(|_| !nulls))
                .collect();
            let mut dictionary = Vec::new();
            for n in 0..names {
                let name = format!("name {n}");
                dictionary.extend((name.len() as u32).to_le_bytes());
                dictionary.extend(name.as_bytes());
            }
            let mut body = Vec::new();
            pages::levels(&values.iter().map(|value| u32::from(value.is_some())).collect::<Vec<u32>>(), &mut body);
            let width = pages::width(names);
            body.push(width as u8);
            pages::hybrid(&values.iter().copied().flatten().collect::<Vec<u32>>(), width, &mut body);
            let read = read_back(DataType::Utf8, Encoding::RLE_DICTIONARY, &[(body, values.len())], Some((&dictionary, names)));
            let texts: Vec<Option<String>> = values.iter().map(|value| value.map(|n| format!("name {n}"))).collect();
            prop_assert_eq!(read.as_string::<i32>(), &StringArray::from(texts));
        }

        #[test]
        fn bits_are_read_back(values in proptest::collection::vec(any::<bool>(), 1..300)) {
            let mut body = Vec::new();
            pages::bits(&values.iter().map(|&value| u32::from(value)).collect::<Vec<u32>>(), &mut body);
            let read = read_back(DataType::Boolean, Encoding::PLAIN, &[(body, values.len())], None);
            prop_assert_eq!(read.as_boolean(), &BooleanArray::from(values));
        }
    }
}
