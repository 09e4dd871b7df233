//go:build !linux

package sqlite

// Allocate writes zeros where the system has no call for it. It is for empty
// files: what they hold is overwritten.
func (f systemFile) Allocate(size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
