package minute

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Former returns the subject of what stood for a user in pages of format 1. Different numbers have different subjects.
type Former func(old int64) (subject int64)

// ReadUsage returns the table of a usage file, one of format 1 in the subjects of former; nil refuses format 1. But for the names
// of apps it shares memory with the file, which must not change as long as the table is used. A file that is damaged, of another
// version or of another day is an error.
func ReadUsage(day int32, usage []byte, former Former) (*Table, error) {
	t := &Table{day: day}
	if err := read(day, usage, former, t.fill); err != nil {
		return nil, fmt.Errorf("read usage page: %w", err)
	}
	return t, nil
}

// ReadLatency returns the table of a latency file, one of format 1 in the subjects of former and the bins of today; nil refuses
// format 1. It shares memory with the file, which must not change as long as the table is used. A file that is damaged, of
// another version or of another day is an error.
func ReadLatency(day int32, latency []byte, former Former) (*LatencyTable, error) {
	t := &LatencyTable{day: day, offsets: []int32{0}}
	if err := read(day, latency, former, t.fill); err != nil {
		return nil, fmt.Errorf("read latency page: %w", err)
	}
	return t, nil
}

// read opens a file, unless it is empty, and hands its only record batch to fill, with former if it is of format 1 and nil if it
// is of format 2. Arrow panics on input that breaks its rules; here that is an error like any other.
func read(day int32, file []byte, former Former, fill func(arrow.RecordBatch, Former) error) (err error) {
	if len(file) == 0 {
		return nil
	}
	if err := verify(file); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not an Arrow file: %v", p)
		}
	}()
	r, err := ipc.NewReaderFromMessageReader(&messages{rest: file[headerSize:]})
	if err != nil {
		return err
	}
	metadata := r.Schema().Metadata()
	switch version, _ := metadata.GetValue(versionKey); {
	case version == pageVersion:
		former = nil
	case version != formerVersion:
		return fmt.Errorf("version %q is unknown, only %q and %q are known", version, formerVersion, pageVersion)
	case former == nil:
		return fmt.Errorf("version %q is not understood without the subjects of today for its own", version)
	}
	if of, _ := metadata.GetValue(dayKey); of != strconv.Itoa(int(day)) {
		return fmt.Errorf("it is of day %q, not of day %d", of, day)
	}
	batch, err := r.Read()
	if err != nil {
		return err
	}
	return fill(batch, former)
}

// messages hands out the messages of an Arrow file in their order, without copying. (The library's own reader of mapped
// files cannot read dictionaries.)
type messages struct{ rest []byte }

// Message returns the next message.
func (m *messages) Message() (*ipc.Message, error) {
	const prefixSize = 8 // a marker, then the size of the metadata
	size := int(binary.LittleEndian.Uint32(m.rest[prefixSize/2:]))
	if size == 0 {
		return nil, io.EOF
	}
	metadata, body := m.rest[prefixSize:prefixSize+size], m.rest[prefixSize+size:]
	message := ipc.NewMessage(memory.NewBufferBytes(metadata), memory.NewBufferBytes(body))
	m.rest = body[message.BodyLen():]
	return message, nil
}

// Retain and Release do nothing: the garbage collector owns the file.
func (*messages) Retain()  {}
func (*messages) Release() {}

// fill takes the columns of a usage file.
func (t *Table) fill(batch arrow.RecordBatch, former Former) error {
	rows := int(batch.NumRows())
	apps, err := columnOf[*array.Dictionary](batch, "app")
	if err != nil {
		return err
	}
	connected, err := columnOf[*array.Boolean](batch, "connected")
	if err != nil {
		return err
	}
	if err := errors.Join(
		t.blocks.fill(batch),
		fillValues(&t.halfHour, batch, "half_hour", (*array.Uint8).Uint8Values),
		fillValues(&t.kind, batch, "kind", (*array.Uint8).Uint8Values),
		fillValues(&t.minutes, batch, "minutes", (*array.Int32).Int32Values),
		t.fillApps(apps),
	); err != nil {
		return err
	}
	t.connected = connected.Data().Buffers()[1].Bytes()[:(rows+7)/8]
	for i := range rows {
		if k := Kind(t.kind[i]); t.halfHour[i] >= HalfHoursPerDay || k >= kinds || k.HasBins() ||
			t.app(i) >= len(t.apps) || Mask(t.minutes[i])&^fullMask != 0 {
			return fmt.Errorf("row %d is out of range", i)
		}
	}
	if former != nil && !t.translate(former) {
		*t = *TableOf(t.day, Normalize(t.Rows()))
		return nil
	}
	t.assignCodes()
	return nil
}

// fillApps takes the dictionary and the indexes of the column of apps.
func (t *Table) fillApps(apps *array.Dictionary) error {
	names, ok := apps.Dictionary().(*array.String)
	if !ok {
		return fmt.Errorf("column app is of type %s", apps.DataType())
	}
	t.apps = make([]string, names.Len())
	for i := range t.apps {
		t.apps[i] = strings.Clone(names.Value(i)) // a name may outlive the file
	}
	switch index := apps.Indices().(type) {
	case *array.Uint8:
		t.narrow = index.Uint8Values()
	case *array.Uint16:
		t.wide = make([]uint32, index.Len())
		for i, x := range index.Uint16Values() {
			t.wide[i] = uint32(x)
		}
	case *array.Uint32:
		t.wide = index.Uint32Values()
	default:
		return fmt.Errorf("column app is of type %s", apps.DataType())
	}
	return nil
}

// fill takes the columns of a latency file.
func (t *LatencyTable) fill(batch arrow.RecordBatch, former Former) error {
	bins, err := columnOf[*array.Binary](batch, "bins")
	if err != nil {
		return err
	}
	if err := errors.Join(
		t.blocks.fill(batch),
		fillValues(&t.halfHour, batch, "half_hour", (*array.Uint8).Uint8Values),
		fillValues(&t.minutes, batch, "minutes", (*array.Int32).Int32Values),
	); err != nil {
		return err
	}
	if former != nil {
		t.kind = bytes.Repeat([]byte{byte(Connection)}, len(t.minutes))
	} else if err := fillValues(&t.kind, batch, "kind", (*array.Uint8).Uint8Values); err != nil {
		return err
	}
	t.offsets, t.bins = bins.ValueOffsets(), bins.Data().Buffers()[2].Bytes()
	if t.offsets[0] < 0 || int(t.offsets[len(t.offsets)-1]) > len(t.bins) {
		return errors.New("column bins is out of range")
	}
	for i, m := range t.minutes {
		if k := Kind(t.kind[i]); t.halfHour[i] >= HalfHoursPerDay || k >= kinds || !k.HasBins() || Mask(m)&^fullMask != 0 ||
			int(t.offsets[i+1]-t.offsets[i]) != Mask(m).Count() {
			return fmt.Errorf("row %d is out of range", i)
		}
	}
	if former == nil {
		return nil
	}
	t.bins = slices.Clone(t.bins)
	for i, bin := range t.bins {
		t.bins[i] = formerBins[bin]
	}
	if !t.translate(former) {
		*t = *LatencyTableOf(t.day, Normalize(t.Rows()))
	}
	return nil
}

// translate puts the subjects of today in place of those of format 1. It reports whether they are sorted as well, and no two are one.
func (b *blocks) translate(former Former) bool {
	subjects, ascending := make([]int64, len(b.subjects)), true
	for i, old := range b.subjects {
		subjects[i] = former(old)
		ascending = ascending && (i == 0 || subjects[i-1] < subjects[i])
	}
	b.subjects = subjects
	return ascending
}

// fill takes the column of subjects.
func (b *blocks) fill(batch arrow.RecordBatch) error {
	subjects, err := columnOf[*array.Dictionary](batch, "subject")
	if err != nil {
		return err
	}
	values, ok := subjects.Dictionary().(*array.Int64)
	if !ok {
		return fmt.Errorf("column subject is of type %s", subjects.DataType())
	}
	b.subjects = values.Int64Values()
	switch index := subjects.Indices().(type) {
	case *array.Uint16:
		b.ends, ok = ends(index.Uint16Values(), len(b.subjects))
	case *array.Uint32:
		b.ends, ok = ends(index.Uint32Values(), len(b.subjects))
	default:
		return fmt.Errorf("column subject is of type %s", subjects.DataType())
	}
	if !ok || !slices.IsSorted(b.subjects) {
		return errors.New("column subject is not sorted")
	}
	return nil
}

// ends returns where the run of each index of a dictionary of n values ends, if the indexes are exactly those, ascending.
func ends[I uint16 | uint32](indexes []I, n int) ([]int32, bool) {
	out := make([]int32, 0, n)
	for i, x := range indexes {
		switch {
		case int(x) == len(out):
		case int(x) == len(out)+1 && i > 0:
			out = append(out, int32(i))
		default:
			return nil, false
		}
	}
	return append(out, int32(len(indexes))), len(out) == n-1
}

// fillValues takes a column of numbers.
func fillValues[A arrow.Array, V any](to *[]V, batch arrow.RecordBatch, name string, values func(A) []V) error {
	c, err := columnOf[A](batch, name)
	if err == nil {
		*to = values(c)
	}
	return err
}

// columnOf returns the only column of a name, which must be of type A and have no nulls.
func columnOf[A arrow.Array](batch arrow.RecordBatch, name string) (A, error) {
	var none A
	at := batch.Schema().FieldIndices(name)
	if len(at) != 1 {
		return none, fmt.Errorf("it has %d columns %s", len(at), name)
	}
	c, ok := batch.Column(at[0]).(A)
	if !ok {
		return none, fmt.Errorf("column %s is of type %s", name, batch.Column(at[0]).DataType())
	}
	if c.NullN() != 0 || c.Len() != int(batch.NumRows()) {
		return none, fmt.Errorf("column %s has nulls", name)
	}
	return c, nil
}
