package minute

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Page is the rows of one template and UTC day in two Apache Arrow IPC files of one record batch each, without nulls,
// sorted by subject, half hour, kind and app. Any Arrow reader takes them as they are. Nil stands for a file without rows.
//
// The usage file holds the kinds without bins, plain:
//
//	subject    dictionary(int64)  the person times 2^24 plus the seat; index uint16, uint32 beyond 65,535 subjects
//	half_hour  uint8              of the day, 0 to 47
//	kind       uint8              0 session, 1 app, 3 login, 4 estimate of a session, 5 of an app
//	app        dictionary(utf8)   index uint8; uint16 beyond 255 apps, uint32 beyond 65,535
//	minutes    int32              bit i is minute i of the half hour, 30 bits
//	connected  bool               the connection gate of a session
//
// The latency file holds the kinds with bins, buffers compressed with LZ4:
//
//	subject, half_hour, minutes   as above
//	kind       uint8              2 connection, 6 estimate of a connection
//	bins       binary             one byte per set bit of minutes, from the lowest: see Bin
//
// Dictionaries are sorted and hold only what occurs. The schema's metadata has the version of this format
// (insights.version, here 2) and the day, counted from the Unix epoch (insights.day). Between the last message and the
// footer, where Arrow readers do not look, lie eight bytes: the CRC-32C of all other bytes of the file as a little-endian
// number.
//
// Files of format 1, which are read but no longer written, differ in this: a subject is one of the numbers that stood for users, the
// latency file has no kinds because all its rows are connections, and its bins cut 0.1 ms to 30 s into 256 of equal ratio.
type Page struct {
	// Usage is the usage file.
	Usage []byte
	// Latency is the latency file.
	Latency []byte
}

const (
	pageVersion   = "2"
	formerVersion = "1"
	versionKey    = "insights.version"
	dayKey        = "insights.day"

	headerSize = 8 // the magic word that begins an Arrow file, padded
	sealSize   = 8
	// trailerSize is what ends an Arrow file: the size of the footer before it, four bytes, and the magic word.
	trailerSize = 4 + 6
)

// EncodePage returns the page of a day. It fails when the rows are not sorted, not distinct, not all of that day, or not
// what Row says.
func EncodePage(day int32, rows []Row) (Page, error) {
	for i := range rows {
		if err := rows[i].check(day); err != nil {
			return Page{}, fmt.Errorf("encode page: row %d: %w", i, err)
		}
		if i > 0 && Compare(rows[i-1], rows[i]) >= 0 {
			return Page{}, fmt.Errorf("encode page: row %d is not after the one before it", i)
		}
	}
	usage, err := encodeUsage(TableOf(day, rows))
	if err != nil {
		return Page{}, fmt.Errorf("encode usage page: %w", err)
	}
	latency, err := encodeLatency(LatencyTableOf(day, rows))
	if err != nil {
		return Page{}, fmt.Errorf("encode latency page: %w", err)
	}
	return Page{Usage: usage, Latency: latency}, nil
}

// check says what is wrong with a row of a day.
func (r *Row) check(day int32) error {
	switch {
	case r.day() != day:
		return fmt.Errorf("half hour %d is not of day %d", r.HalfHour, day)
	case r.Kind >= kinds:
		return fmt.Errorf("unknown kind %d", r.Kind)
	case r.Minutes&^fullMask != 0:
		return fmt.Errorf("minutes %#x exceed a half hour", uint32(r.Minutes))
	case r.Kind.HasBins() && (r.App != "" || len(r.Bins) != r.Minutes.Count()):
		return fmt.Errorf("a latency with app %q and %d bins for %d minutes", r.App, len(r.Bins), r.Minutes.Count())
	case !r.Kind.HasBins() && len(r.Bins) != 0, r.Kind != Session && r.Connected:
		return fmt.Errorf("kind %d has bins or a connection gate", r.Kind)
	}
	return nil
}

// DecodePage returns all rows of a page, sorted, those of format 1 as ReadUsage and ReadLatency translate them. They share memory
// with the page. It fails as those do.
func DecodePage(day int32, p Page, former Former) ([]Row, error) {
	usage, err := ReadUsage(day, p.Usage, former)
	if err != nil {
		return nil, err
	}
	latency, err := ReadLatency(day, p.Latency, former)
	if err != nil {
		return nil, err
	}
	return Union(usage.Rows(), latency.Rows()), nil
}

// encodeUsage returns the usage file of a table, nil when it is empty.
func encodeUsage(t *Table) ([]byte, error) {
	if t.rows() == 0 {
		return nil, nil
	}
	appType, appIndex := arrow.PrimitiveTypes.Uint8, t.narrow
	if t.narrow == nil {
		appType, appIndex = narrowest(t.wide, len(t.apps))
	}
	return encode(t.day, []string{"subject", "half_hour", "kind", "app", "minutes", "connected"}, []arrow.Array{
		t.subjectColumn(),
		column(arrow.PrimitiveTypes.Uint8, t.rows(), t.halfHour),
		column(arrow.PrimitiveTypes.Uint8, t.rows(), t.kind),
		dictionaryColumn(appType, t.rows(), appIndex, stringColumn(t.apps)),
		column(arrow.PrimitiveTypes.Int32, t.rows(), arrow.Int32Traits.CastToBytes(t.minutes)),
		column(arrow.FixedWidthTypes.Boolean, t.rows(), t.connected),
	})
}

// encodeLatency returns the latency file of a table, nil when it is empty.
func encodeLatency(t *LatencyTable) ([]byte, error) {
	if t.rows() == 0 {
		return nil, nil
	}
	return encode(t.day, []string{"subject", "half_hour", "kind", "minutes", "bins"}, []arrow.Array{
		t.subjectColumn(),
		column(arrow.PrimitiveTypes.Uint8, t.rows(), t.halfHour),
		column(arrow.PrimitiveTypes.Uint8, t.rows(), t.kind),
		column(arrow.PrimitiveTypes.Int32, t.rows(), arrow.Int32Traits.CastToBytes(t.minutes)),
		column(arrow.BinaryTypes.Binary, t.rows(), arrow.Int32Traits.CastToBytes(t.offsets), t.bins),
	}, ipc.WithLZ4())
}

// column makes an array without nulls of its buffers.
func column(dt arrow.DataType, rows int, buffers ...[]byte) arrow.Array {
	all := []*memory.Buffer{nil}
	for _, b := range buffers {
		all = append(all, memory.NewBufferBytes(b))
	}
	return array.MakeFromData(array.NewData(dt, rows, all, nil, 0, 0))
}

// dictionaryColumn makes an array of indexes into values.
func dictionaryColumn(index arrow.DataType, rows int, indexes []byte, values arrow.Array) arrow.Array {
	dt := &arrow.DictionaryType{IndexType: index, ValueType: values.DataType(), Ordered: true}
	return array.NewDictionaryArray(dt, column(index, rows, indexes), values)
}

// stringColumn makes an array of texts.
func stringColumn(texts []string) arrow.Array {
	offsets, chars := []int32{0}, []byte{}
	for _, s := range texts {
		chars = append(chars, s...)
		offsets = append(offsets, int32(len(chars)))
	}
	return column(arrow.BinaryTypes.String, len(texts), arrow.Int32Traits.CastToBytes(offsets), chars)
}

// subjectColumn makes the column of subjects.
func (b *blocks) subjectColumn() arrow.Array {
	indexes, from := make([]uint32, b.rows()), int32(0)
	for i, end := range b.ends {
		for ; from < end; from++ {
			indexes[from] = uint32(i)
		}
	}
	index, raw := narrowest(indexes, len(b.subjects))
	values := column(arrow.PrimitiveTypes.Int64, len(b.subjects), arrow.Int64Traits.CastToBytes(b.subjects))
	return dictionaryColumn(index, b.rows(), raw, values)
}

// narrowest returns indexes of a dictionary of n values as uint16, or as uint32 when that is too narrow.
func narrowest(indexes []uint32, n int) (arrow.DataType, []byte) {
	if n > 65_535 {
		return arrow.PrimitiveTypes.Uint32, arrow.Uint32Traits.CastToBytes(indexes)
	}
	short := make([]uint16, len(indexes))
	for i, x := range indexes {
		short[i] = uint16(x)
	}
	return arrow.PrimitiveTypes.Uint16, arrow.Uint16Traits.CastToBytes(short)
}

// encode writes columns as a sealed Arrow file.
func encode(day int32, names []string, columns []arrow.Array, options ...ipc.Option) ([]byte, error) {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: names[i], Type: c.DataType()}
	}
	metadata := arrow.NewMetadata([]string{versionKey, dayKey}, []string{pageVersion, strconv.Itoa(int(day))})
	schema := arrow.NewSchema(fields, &metadata)
	var file bytes.Buffer
	w, err := ipc.NewFileWriter(&file, append(options, ipc.WithSchema(schema))...)
	if err != nil {
		return nil, err
	}
	if err := w.Write(array.NewRecordBatch(schema, columns, int64(columns[0].Len()))); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return seal(file.Bytes())
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal inserts the checksum of an Arrow file before its footer.
func seal(file []byte) ([]byte, error) {
	at, err := footer(file)
	if err != nil {
		return nil, err
	}
	sum := crc32.Update(crc32.Checksum(file[:at], castagnoli), castagnoli, file[at:])
	return slices.Insert(file, at, binary.LittleEndian.AppendUint64(nil, uint64(sum))...), nil
}

// verify reports an error unless a file is as seal returned it. Nothing of a file is believed before: a wrong length in it
// makes the Arrow library ask for more memory than there is, which ends the program.
func verify(file []byte) error {
	at, err := footer(file)
	if err != nil {
		return err
	}
	if at < sealSize {
		return errDamaged
	}
	sum := crc32.Update(crc32.Checksum(file[:at-sealSize], castagnoli), castagnoli, file[at:])
	if binary.LittleEndian.Uint64(file[at-sealSize:]) != uint64(sum) {
		return errDamaged
	}
	return nil
}

var errDamaged = errors.New("the checksum does not match: the page is damaged")

// footer returns where the footer of an Arrow file begins.
func footer(file []byte) (int, error) {
	if len(file) < trailerSize {
		return 0, errDamaged
	}
	size := int(binary.LittleEndian.Uint32(file[len(file)-trailerSize:]))
	if at := len(file) - trailerSize - size; at >= 0 {
		return at, nil
	}
	return 0, errDamaged
}
