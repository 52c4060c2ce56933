package rest

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// RowGroup is how many rows are held in memory and written together.
const RowGroup = 16 << 10

// parquetWriter writes rows as Apache Parquet.
type parquetWriter struct {
	file *pqarrow.FileWriter
	rows *array.RecordBuilder
	held int
}

func newParquetWriter(w io.Writer, columns []Column) (rowWriter, error) {
	fields := make([]arrow.Field, len(columns))
	for i, col := range columns {
		kind, err := arrowType(col.Kind)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", col.Name, err)
		}
		if col.List {
			kind = arrow.ListOfNonNullable(kind)
		}
		fields[i] = arrow.Field{Name: col.Name, Type: kind, Nullable: col.Optional}
	}
	schema := arrow.NewSchema(fields, nil)
	file, err := pqarrow.NewFileWriter(
		schema, w, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd)), pqarrow.DefaultWriterProps(),
	)
	if err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	return &parquetWriter{file: file, rows: array.NewRecordBuilder(groupMemory{}, schema)}, nil
}

// groupMemory is what row groups gave back, by size, for the groups after them: all groups of a file take the memory of one.
type groupMemory map[int][][]byte

// Allocate implements [memory.Allocator].
func (m groupMemory) Allocate(size int) []byte {
	last := len(m[size]) - 1
	if last < 0 {
		return memory.DefaultAllocator.Allocate(size)
	}
	b := m[size][last]
	m[size] = m[size][:last]
	clear(b)
	return b
}

// Reallocate implements [memory.Allocator].
func (m groupMemory) Reallocate(size int, b []byte) []byte {
	if size <= cap(b) {
		return b[:size]
	}
	larger := m.Allocate(size)
	copy(larger, b)
	m.Free(b)
	return larger
}

// Free implements [memory.Allocator].
func (m groupMemory) Free(b []byte) {
	if size := cap(b); size > 0 {
		m[size] = append(m[size], b[:size])
	}
}

func arrowType(kind protoreflect.Kind) (arrow.DataType, error) {
	switch kind {
	case protoreflect.StringKind:
		return arrow.BinaryTypes.String, nil
	case protoreflect.BoolKind:
		return arrow.FixedWidthTypes.Boolean, nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return arrow.PrimitiveTypes.Int64, nil
	case protoreflect.DoubleKind:
		return arrow.PrimitiveTypes.Float64, nil
	default:
		return nil, fmt.Errorf("cells of kind %v are not known", kind)
	}
}

func (p *parquetWriter) Write(row []protoreflect.Value) error {
	for i, value := range row {
		appendArrow(p.rows.Field(i), value)
	}
	if p.held++; p.held < RowGroup {
		return nil
	}
	return p.flush()
}

func appendArrow(to array.Builder, value protoreflect.Value) {
	if !value.IsValid() {
		to.AppendNull()
		return
	}
	switch to := to.(type) {
	case *array.StringBuilder:
		to.Append(value.String())
	case *array.BooleanBuilder:
		to.Append(value.Bool())
	case *array.Int64Builder:
		to.Append(value.Int())
	case *array.Float64Builder:
		to.Append(value.Float())
	case *array.ListBuilder:
		to.Append(true)
		for i := range value.List().Len() {
			appendArrow(to.ValueBuilder(), value.List().Get(i))
		}
	}
}

// flush writes the rows that are held.
func (p *parquetWriter) flush() error {
	batch := p.rows.NewRecordBatch()
	defer batch.Release()
	p.held = 0
	if err := p.file.Write(batch); err != nil {
		return fmt.Errorf("write Parquet rows: %w", err)
	}
	return nil
}

func (p *parquetWriter) Close() error {
	defer p.rows.Release()
	if p.held > 0 {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if err := p.file.Close(); err != nil {
		return fmt.Errorf("close Parquet file: %w", err)
	}
	return nil
}
