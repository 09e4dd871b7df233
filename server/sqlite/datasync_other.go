//go:build !linux

package sqlite

// systemVFS returns the name of the VFS for the disks of the operating system: the empty
// one, which is SQLite's own.
func systemVFS() string { return "" }
