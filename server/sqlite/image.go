package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"runtime/debug"
)

// Image is a database file and its WAL, read page by page without SQLite. It
// needs no structure to be whole: not the header, not the schema, not the trees.
// It only finds rows; whether a row is what was written, its own checksum has to
// tell.
type Image struct {
	database, wal io.ReaderAt
	closers       []io.Closer
	inDatabase    uint32 // pages
	pages         uint32 // the highest number
	scan          walScan
	latest        map[uint32]int64 // offset in the WAL of the newest version of a page
	suspect       map[uint32]int64 // the same of those whose checksum does not hold
	content       map[place]bool   // pages that rows overflow to which the database lists
	Unreadable    int              // pages that the disk did not give back
	unreadable    []place          // the first of them
	readable      *place           // one that it did give back
	Fault         error            // of the program: the first page that it could not look at; see carve
}

// OpenImage opens the files of a database. A file that is missing is empty. It fails
// with a [*LinkError] or a [*SpecialError].
func OpenImage(disk Disk, path string) (*Image, error) {
	if err := disk.checkNames(path); err != nil {
		return nil, err
	}
	image := &Image{latest: make(map[uint32]int64), suspect: make(map[uint32]int64), content: make(map[place]bool)}
	database, size, err := image.open(disk, path)
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	image.database, image.inDatabase = database, uint32(min(size/PageBytes, math.MaxUint32))
	image.pages = image.inDatabase
	wal, size, err := image.open(disk, path+"-wal")
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	image.wal = wal
	image.scan = scanWAL(wal, size, false)
	if image.scan.headless {
		// SQLite syncs a header before the first frame, so where frames have room one was
		// there. It is written over in place when everything behind it is in the database.
		// When neither the first frame nor that was written whole, for want of room, it
		// looks like damage; then no transaction is missed, and none is lost.
		if image.scan.damaged = !image.isMoved(); image.scan.damaged {
			image.scan = scanWAL(wal, size, true)
			image.scan.damaged = true
		}
	}
	for _, page := range image.scan.pages {
		if page.lost {
			continue
		}
		if !page.holds {
			image.suspect[page.number] = page.offset
			continue
		}
		image.latest[page.number] = page.offset
		image.pages = max(image.pages, page.number)
	}
	return image, nil
}

// isMoved reports whether the database has all that the WAL holds, a transaction at
// least. It does when the WAL is written from its beginning again; a header that a crash
// has cut off then takes nothing away.
func (i *Image) isMoved() bool {
	committed, latest, whole := map[uint32]int64{}, map[uint32]int64{}, true
	for n, page := range i.scan.pages {
		if whole = whole && (n == 0 || page.holds); !whole {
			if page.holds && i.scan.pages[n-1].commit {
				return false // a transaction behind damage
			}
			continue
		}
		latest[page.number] = page.offset
		if page.commit {
			maps.Copy(committed, latest)
			clear(latest)
		}
	}
	inWAL, inDatabase := make([]byte, PageBytes), make([]byte, PageBytes)
	for number, offset := range committed {
		if _, err := i.wal.ReadAt(inWAL, offset); err != nil || !i.readAt(place{offset: int64(number-1) * PageBytes}, inDatabase) || !bytes.Equal(inWAL, inDatabase) {
			return false
		}
	}
	return len(committed) > 0
}

func (i *Image) open(disk Disk, path string) (io.ReaderAt, int64, error) {
	file, err := disk.Open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return bytes.NewReader(nil), 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	i.closers = append(i.closers, file)
	size, err := disk.Size(path)
	return twice{file}, size, err
}

// twice reads again what the disk did not give back: what is given up by that is
// gone for whoever reads the file, and a disk may be away for a moment.
type twice struct{ io.ReaderAt }

func (t twice) ReadAt(b []byte, offset int64) (int, error) {
	n, err := t.ReaderAt.ReadAt(b, offset)
	if err != nil && err != io.EOF {
		return t.ReaderAt.ReadAt(b, offset)
	}
	return n, err
}

// Close closes the files.
func (i *Image) Close() error {
	var errs []error
	for _, closer := range i.closers {
		errs = append(errs, closer.Close())
	}
	return errors.Join(errs...)
}

// WALDamaged reports whether transactions that were on disk cannot be read from
// the WAL any more, because of damage in front of them. SQLite drops them without
// a word.
func (i *Image) WALDamaged() bool { return i.scan.damaged }

// LostRound reports whether that damage may have hit all of the newest round through the
// WAL: what is left of it may be of an earlier round, and nothing tells how many
// transactions there were after that.
func (i *Image) LostRound() bool { return i.scan.damaged && i.scan.headless && !i.scan.newest }

// WALUnreadable returns how many frames of the WAL the disk did not give back. It
// may give them back later: they are acknowledged commits that are nowhere else.
func (i *Image) WALUnreadable() int { return i.scan.lost }

// HasTail reports whether something lies behind the last transaction that SQLite
// reads from the WAL: one that a crash cut off, or the last one, damaged.
func (i *Image) HasTail() bool { return len(i.scan.pages) > i.scan.whole }

// TailRows is Rows for what lies there.
func (i *Image) TailRows(take func(row *CarvedRow) bool) {
	page := make([]byte, PageBytes)
	for n := range i.scan.pages[i.scan.whole:] {
		i.both(i.inWAL(i.scan.whole+n), page, take)
	}
}

// CarvedRow is a row that was found. Values are int64, float64, string, []byte or
// nil.
type CarvedRow struct {
	ID     int64 // of a table with row ids
	Keyed  bool  // the row is of a table without row ids
	Live   bool  // a page that is in use lists it; otherwise it may have been deleted
	Tail   bool  // it lies behind the last commit, so it may never have been stored
	Free   bool  // it lies in a page that is free: it was deleted, or it stands elsewhere
	Values []any
}

// UnreadableError says that a file could not be read because the disk is away. It
// may be back after a restart: nothing is concluded from that.
type UnreadableError struct{ Unreadable, Pages int }

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("the disk did not give back %d of %d pages", e.Unreadable, e.Pages)
}

// A few pages that a disk does not give back are damage, which stays.
const (
	unreadableFree  = 16
	unreadableShare = 10
)

// WALUnreadableError says that the disk did not give back a part of the WAL, twice.
// Acknowledged commits lie there that are nowhere else, so a start waits for the
// disk: to give them up is for an operator to decide.
type WALUnreadableError struct {
	Path   string // of the database
	Frames int
}

func (e *WALUnreadableError) Error() string {
	return fmt.Sprintf("the disk did not give back %d pages of %s-wal, which hold acknowledged messages", e.Frames, e.Path)
}

// place is where a version of a page lies.
type place struct {
	wal    bool
	offset int64
}

// pageAt is a page that is looked at.
type pageAt struct {
	place
	number uint32
	tail   bool // see CarvedRow
	free   bool
}

func (i *Image) inWAL(n int) pageAt {
	page := &i.scan.pages[n]
	return pageAt{place: place{wal: true, offset: page.offset}, number: page.number, tail: n >= i.scan.committed}
}

// Rows finds rows, and calls take for each of them: first those that pages list,
// oldest version of a page first, then those that lie where no page leads to, then
// those behind the last commit, and in the end those in free pages. The same row may
// come several times, and rows that were deleted may come too. take returns whether it
// believes the row; where it does not, other versions of the pages that it spans are
// tried. Rows ends with ctx, and with an [*UnreadableError].
func (i *Image) Rows(ctx context.Context, take func(row *CarvedRow) bool) error {
	s := &search{image: i, take: take, free: i.freePages(), page: make([]byte, PageBytes)}
	for _, look := range []func(context.Context) error{s.used, s.hidden, s.behind, s.unused, s.hidden} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	if i.isAway(s.page) {
		return &UnreadableError{Unreadable: i.Unreadable, Pages: int(i.inDatabase) + len(i.scan.pages)}
	}
	return ctx.Err()
}

// search is a look for all rows.
type search struct {
	image *Image
	take  func(row *CarvedRow) bool
	free  []bool // by number of a page
	page  []byte
	rest  []pageAt // in which more may be found
	tail  []pageAt
}

// used lists the rows of the pages that are in use.
func (s *search) used(ctx context.Context) error {
	if err := s.database(ctx, false); err != nil {
		return err
	}
	for n := range s.image.scan.pages {
		at := s.image.inWAL(n)
		if at.tail {
			s.tail = append(s.tail, at)
		} else if err := s.list(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// unused lists the rows of the others.
func (s *search) unused(ctx context.Context) error { return s.database(ctx, true) }

func (s *search) database(ctx context.Context, free bool) error {
	for number := range s.image.inDatabase {
		if s.free[number+1] != free {
			continue
		}
		if err := s.list(ctx, pageAt{place: place{offset: int64(number) * PageBytes}, number: number + 1, free: free}); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) list(ctx context.Context, at pageAt) error {
	if !s.image.visit(at, s.page, s.take, (*carver).list) {
		s.rest = append(s.rest, at)
	}
	return ctx.Err()
}

// hidden looks for rows that no page leads to.
func (s *search) hidden(ctx context.Context) error {
	for _, at := range s.rest {
		// Nothing else lies in a page that a row fills, but what somebody has sent.
		if !s.image.content[at.place] {
			s.image.visit(at, s.page, s.take, (*carver).scan)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	s.rest = s.rest[:0]
	return nil
}

// behind looks for rows behind the last commit.
func (s *search) behind(context.Context) error {
	for _, at := range s.tail {
		s.image.both(at, s.page, s.take)
	}
	return nil
}

// isAway reports whether the disk, and not a few bad pages of it, is why something
// was not read: too much of it, or what is read now, or what is not read any more.
func (i *Image) isAway(page []byte) bool {
	if i.Unreadable == 0 {
		return false
	}
	if i.Unreadable > unreadableFree && i.Unreadable > int(i.inDatabase)/unreadableShare || i.readable == nil || !i.readAt(*i.readable, page) {
		return true
	}
	for _, at := range i.unreadable {
		if i.readAt(at, page) {
			return true
		}
	}
	return false
}

// both looks for rows in a page in each way.
func (i *Image) both(at pageAt, page []byte, take func(row *CarvedRow) bool) {
	if !i.visit(at, page, take, (*carver).list) {
		i.visit(at, page, take, (*carver).scan)
	}
}

// visit looks for rows in a page in one way. It reports whether there is nothing
// more to be found in it. It reads whatever anybody may have written there, so what
// a fault of the program would end is this page and not the start: the next one
// would meet the same page.
func (i *Image) visit(at pageAt, page []byte, take func(row *CarvedRow) bool, look func(*carver) bool) (done bool) {
	if !i.readAt(at.place, page) {
		if i.Unreadable++; i.Unreadable <= unreadableFree {
			i.unreadable = append(i.unreadable, at.place)
		}
		return true
	}
	i.readable = &at.place
	defer func() {
		if fault := recover(); fault != nil && i.Fault == nil {
			i.Fault = fmt.Errorf("look for rows in page %d: %v\n%s", at.number, fault, debug.Stack())
		}
	}()
	return look(&carver{image: i, page: page, pageAt: at, take: take})
}

func (i *Image) readAt(at place, page []byte) bool {
	from := i.database
	if at.wal {
		from = i.wal
	}
	_, err := from.ReadAt(page, at.offset)
	return err == nil
}

// version says where a page is read that a row overflows to.
type version int

const (
	newest    version = iota // in the WAL, else in the database
	inFile                   // in the database
	suspected                // in a frame of the WAL whose checksum does not hold, else the newest
)

// find returns where a version of a page lies.
func (i *Image) find(number uint32, which version) (place, bool) {
	offset, ok := i.suspect[number]
	if which != suspected || !ok {
		offset, ok = i.latest[number]
	}
	if ok && which != inFile {
		return place{wal: true, offset: offset}, true
	}
	return place{offset: int64(number-1) * PageBytes}, number > 0 && number <= i.pages
}
