package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Conn is one connection. It is not safe for concurrent use and must not be
// kept after the function that it was lent to has returned.
type Conn struct {
	raw        driver.Conn
	statements map[string]driver.Stmt // by text, prepared once; texts are constants of the code
	arguments  []driver.NamedValue    // reused from call to call
}

// Row is one row of a result. Bytes and texts are copies and belong to the
// caller.
type Row []driver.Value

// Int returns an integer column; NULL is 0.
func (r Row) Int(column int) int64 {
	value, _ := r[column].(int64)
	return value
}

// Text returns a text column; NULL is empty.
func (r Row) Text(column int) string {
	value, _ := r[column].(string)
	return value
}

// Bytes returns a blob column; NULL is nil. A blob whose type damage has made a
// text is still its bytes.
func (r Row) Bytes(column int) []byte {
	switch value := r[column].(type) {
	case []byte:
		return value
	case string:
		return []byte(value)
	}
	return nil
}

// openConn opens a connection and verifies its settings.
func openConn(disk Disk, path string, role role) (*Conn, error) {
	if err := checkFile(disk, path); err != nil { // somebody may have emptied the file since it was opened first
		return nil, err
	}
	uri := dsn(disk, path)
	if role == roleInspector {
		uri = inspectorDSN(disk, path)
	}
	raw, err := new(sqlite.Driver).Open(uri)
	if err != nil {
		return nil, wrap("open", err)
	}
	conn := &Conn{raw: raw, statements: make(map[string]driver.Stmt)}
	if err := conn.configure(role); err != nil {
		return nil, errors.Join(err, conn.close())
	}
	return conn, nil
}

// close lets the connection go; a nil connection was never opened.
func (c *Conn) close() error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, statement := range c.statements {
		errs = append(errs, statement.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

// Exec runs one statement. Arguments are int64, float64, string, []byte or nil,
// and are only read during the call.
func (c *Conn) Exec(query string, arguments ...any) error {
	statement, err := c.prepare(query)
	if err != nil {
		return err
	}
	_, err = statement.(driver.StmtExecContext).ExecContext(context.Background(), c.bind(arguments))
	return wrap(query, err)
}

// ErrStop is returned by a function that has seen enough rows.
var ErrStop = errors.New("stop")

// Query runs one statement and calls each for every row, until each fails or
// returns [ErrStop]. The statement must not be run again from within each.
func (c *Conn) Query(query string, each func(row Row) error, arguments ...any) error {
	statement, err := c.prepare(query)
	if err != nil {
		return err
	}
	rows, err := statement.(driver.StmtQueryContext).QueryContext(context.Background(), c.bind(arguments))
	if err != nil {
		return wrap(query, err)
	}
	row := make(Row, len(rows.Columns()))
	for {
		if err = wrap(query, rows.Next(row)); err == nil {
			err = each(row)
		}
		if err != nil {
			break
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, ErrStop) {
		err = nil
	}
	return errors.Join(err, wrap(query, rows.Close()))
}

// One runs a statement that yields at most one row and reports whether it did. More of
// them are damage: one bit in the head of a page shows rows that never were.
func (c *Conn) One(query string, each func(row Row), arguments ...any) (found bool, err error) {
	err = c.Query(query, func(row Row) error {
		if found {
			return &Error{Statement: query, Code: sqlite3.SQLITE_CORRUPT, Err: errors.New("more than one row")}
		}
		found = true
		each(row)
		return nil
	}, arguments...)
	return found, err
}

// script runs several statements that take no arguments.
func (c *Conn) script(text string) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(context.Background(), text, nil)
	return wrap("script", err)
}

// transact runs fn between begin and COMMIT.
func (c *Conn) transact(begin string, fn func(conn *Conn) error) error {
	if err := c.Exec(begin); err != nil {
		return err
	}
	err := fn(c)
	if err == nil {
		err = c.Exec("COMMIT")
	}
	if err != nil {
		// After a full disk or a failed write SQLite has rolled back by itself, and
		// says that there is no transaction. Nothing else can be done about a
		// rollback that fails; the first error is the one that tells.
		_ = c.Exec("ROLLBACK")
	}
	return err
}

func (c *Conn) prepare(query string) (driver.Stmt, error) {
	if statement, ok := c.statements[query]; ok {
		return statement, nil
	}
	statement, err := c.raw.(driver.ConnPrepareContext).PrepareContext(context.Background(), query)
	if err != nil {
		return nil, wrap("prepare "+query, err)
	}
	c.statements[query] = statement
	return statement, nil
}

func (c *Conn) bind(arguments []any) []driver.NamedValue {
	c.arguments = c.arguments[:0]
	for i, argument := range arguments {
		c.arguments = append(c.arguments, driver.NamedValue{Ordinal: i + 1, Value: argument})
	}
	return c.arguments
}
