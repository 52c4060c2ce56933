package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// Spool keeps reports on disk until they are settled, so that they outlive the agent's process and the machine. It is a folder of
// segments: files of records to which reports are appended, and which are removed when all their reports are settled. Which
// reports of a segment are settled is not written down: after a crash some are sent again, and a repeat changes nothing.
type Spool struct {
	folder   string
	lock     *os.File // keeps other processes out while it is open
	max      int64
	segments []*segment // oldest first; reports are appended to the last
	size     int64      // of all segments
	next     int        // number of the next segment
}

// segment is one file of a spool.
type segment struct {
	file   *os.File
	size   int64
	read   int64 // up to where reports were taken
	unread int   // reports from there on
	open   int   // reports that are not settled, the unread ones included
}

const (
	// lockName is the file whose lock says that the folder is in use. It stays: who removed it could not know who waits for it.
	lockName = "lock"
	// segmentSuffix ends the names of segments, which are numbers.
	segmentSuffix = ".reports"
	// segmentsPerSpool is how many full segments a spool has room for: what is settled gives its room back in such parts.
	segmentsPerSpool = 8
	// recordHeader is the length of a report, and the checksum of that and the report, each four bytes, little endian.
	recordHeader = 8
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// errSpoolFull means that a report has to wait.
	errSpoolFull = errors.New("spool is full")
)

// OpenSpool opens the spool in a folder, which it makes if it is not there. The files of the spool never take more than so many
// bytes; a report takes about 150. The folder belongs to one agent: reports of another one would be refused, and hold up those
// behind them. It is locked until Close, or the end of the process; while another spool has it open, opening it is an error.
//
// What cannot be read is said in the log: the end of a file that was being written when the machine stopped is cut off, and in
// front of a report that can be read it is skipped. A report that is lost so had not been accepted, unless the disk is damaged.
func OpenSpool(folder string, maxBytes int64) (*Spool, error) {
	lock, err := lockFolder(folder)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{folder: folder, lock: lock, max: maxBytes}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.Close())
	}
	return s, nil
}

// lockFolder makes the folder of a spool if it is not there, and locks it.
func lockFolder(folder string) (*os.File, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(folder, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(file); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s, which another process may have open: %w", folder, err), file.Close())
	}
	return file, nil
}

// Close closes the files of a spool whose reporter has ended, and lets others open it. What is not settled stays for them.
func (s *Spool) Close() error {
	var errs []error
	for _, g := range s.segments {
		errs = append(errs, g.file.Close())
	}
	s.segments, s.size = nil, 0
	return errors.Join(append(errs, s.lock.Close())...) // last: until then the files are this spool's
}

// load opens the segments that are there.
func (s *Spool) load() error {
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		return err
	}
	var numbers []int
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), segmentSuffix)
		if n, err := strconv.Atoi(name); is && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		s.next = n
		g, err := s.openSegment(os.O_RDWR)
		if err != nil {
			return err
		}
		if err := g.scan(); err != nil {
			return err
		}
		s.size += g.size
		if g.open == 0 {
			if err := s.remove(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// openSegment opens the next segment.
func (s *Spool) openSegment(flags int) (*segment, error) {
	file, err := os.OpenFile(filepath.Join(s.folder, fmt.Sprintf("%012d%s", s.next, segmentSuffix)), flags, 0o600)
	if err != nil {
		return nil, err
	}
	s.next++
	g := &segment{file: file}
	s.segments = append(s.segments, g)
	return g, nil
}

// scan counts the reports of a segment from its beginning, past what is damaged, and cuts off what no report follows.
func (g *segment) scan() error {
	info, err := g.file.Stat()
	if err != nil {
		return err
	}
	g.size = info.Size()
	for offset := int64(0); offset < g.size; {
		report, end, err := g.next(offset)
		switch {
		case err != nil:
			return err
		case report == nil:
			return g.cut(offset)
		}
		offset = end
		g.unread++
		g.open++
	}
	return nil
}

// next reads the first report at an offset or behind it, and says where it ends; nil: there is none. What is damaged may be the
// length of a record, so the next one is wherever its own length and checksum are right.
func (g *segment) next(offset int64) (report *insightsv1.AgentReport, end int64, err error) {
	report, length, err := record(g.file, offset, g.size)
	if !errors.Is(err, errDamaged) {
		return report, offset + length, err
	}
	rest, err := io.ReadAll(io.NewSectionReader(g.file, offset, g.size-offset))
	if err != nil {
		return nil, 0, err
	}
	for skipped := int64(1); skipped < int64(len(rest)); skipped++ {
		report, length, err := record(bytes.NewReader(rest), skipped, int64(len(rest)))
		if err == nil {
			slog.Warn("spool is damaged: a part of a file is skipped", "file", g.file.Name(), "at_byte", offset, "lost_bytes", skipped)
			return report, offset + skipped + length, nil
		}
	}
	return nil, 0, nil
}

// errDamaged means that a file does not hold a report where one should be.
var errDamaged = errors.New("damaged record")

// record reads the report at an offset of what has so many bytes, and how many it takes there.
func record(from io.ReaderAt, offset, size int64) (*insightsv1.AgentReport, int64, error) {
	var header [recordHeader]byte
	if err := readAt(from, header[:], offset); err != nil {
		return nil, 0, err
	}
	length, sum := int64(binary.LittleEndian.Uint32(header[:])), binary.LittleEndian.Uint32(header[4:])
	if length > size-offset-recordHeader {
		return nil, 0, errDamaged
	}
	text := make([]byte, length)
	if err := readAt(from, text, offset+recordHeader); err != nil {
		return nil, 0, err
	}
	report := &insightsv1.AgentReport{}
	if checksum(header[:4], text) != sum || proto.Unmarshal(text, report) != nil {
		return nil, 0, errDamaged
	}
	return report, recordHeader + length, nil
}

func checksum(length, text []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, text)
}

func readAt(from io.ReaderAt, into []byte, offset int64) error {
	_, err := from.ReadAt(into, offset)
	if errors.Is(err, io.EOF) {
		return errDamaged
	}
	return err
}

// cut takes everything from an offset on out of a segment. The reports before it were counted.
func (g *segment) cut(offset int64) error {
	slog.Warn("spool is damaged: the end of a file is cut off", "file", g.file.Name(), "kept_bytes", offset, "lost_bytes", g.size-offset)
	g.size = offset
	return g.file.Truncate(offset)
}

// append writes a report to the disk; errSpoolFull: there is no room now.
func (s *Spool) append(report *insightsv1.AgentReport) error {
	text, err := proto.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	record := binary.LittleEndian.AppendUint32(make([]byte, 0, recordHeader+len(text)), uint32(len(text)))
	record = append(binary.LittleEndian.AppendUint32(record, checksum(record, text)), text...)
	length := int64(len(record))
	switch {
	case length > s.max:
		return fmt.Errorf("report of %d bytes is larger than the spool of %d", length, s.max)
	case s.size+length > s.max:
		return errSpoolFull
	}
	g, err := s.last(length)
	if err == nil {
		_, err = g.file.WriteAt(record, g.size)
	}
	if err == nil {
		err = g.file.Sync()
	}
	if err != nil {
		if g != nil { // what may have been written is no report; if it cannot be cut off now, the next one overwrites it
			_ = g.file.Truncate(g.size)
		}
		return fmt.Errorf("write to spool: %w", err)
	}
	g.size += length
	s.size += length
	g.unread++
	g.open++
	return nil
}

// last is the segment to which a record of a length goes: a new one if it does not fit.
func (s *Spool) last(length int64) (*segment, error) {
	if n := len(s.segments); n > 0 {
		if g := s.segments[n-1]; g.size == 0 || g.size+length <= s.max/segmentsPerSpool {
			return g, nil
		}
	}
	g, err := s.openSegment(os.O_RDWR | os.O_CREATE | os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := syncFolder(s.folder); err != nil {
		return nil, errors.Join(err, s.remove(g))
	}
	return g, nil
}

// syncFolder makes sure that a new file is found after a crash. Windows has no such call and needs none.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// take reads the oldest report that was not taken yet, and the segment to settle it with; nil: there is none.
func (s *Spool) take() (*insightsv1.AgentReport, *segment, error) {
	for _, g := range slices.Clone(s.segments) {
		if g.unread == 0 {
			continue
		}
		report, end, err := g.next(g.read)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("read from spool: %w", err)
		case report != nil:
			g.read = end
			g.unread--
			return report, g, nil
		}
		// Those that are still counted were damaged after they had been.
		s.size -= g.size - g.read
		g.open, g.unread = g.open-g.unread, 0
		if err := g.cut(g.read); err != nil {
			return nil, nil, fmt.Errorf("cut off what is damaged: %w", err)
		}
		if err := s.release(g); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

// settle notes that a report that was taken from a segment needs it no more.
func (s *Spool) settle(g *segment) error {
	g.open--
	return s.release(g)
}

// release gives back the room of a segment whose reports are all settled. The last one is emptied and used again.
func (s *Spool) release(g *segment) error {
	if g.open > 0 {
		return nil
	}
	if g != s.segments[len(s.segments)-1] {
		return s.remove(g)
	}
	if err := g.file.Truncate(0); err != nil {
		return fmt.Errorf("empty spool: %w", err)
	}
	s.size -= g.size
	g.size, g.read = 0, 0
	return nil
}

// remove deletes a segment.
func (s *Spool) remove(g *segment) error {
	s.size -= g.size
	s.segments = slices.DeleteFunc(s.segments, func(other *segment) bool { return other == g })
	if err := errors.Join(g.file.Close(), os.Remove(g.file.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove from spool: %w", err)
	}
	return nil
}
