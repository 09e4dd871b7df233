package queue

import (
	"context"
	"embed"

	"combotto.io/gateway/server/sqlite"
)

//go:embed schema/*.sql
var schema embed.FS

var migrations = sqlite.NewMigrations(schema, "schema/*.sql")

// openFresh opens a file, or makes one, to build a queue in it.
func openFresh(ctx context.Context, disk sqlite.Disk, path string) (*sqlite.DB, error) {
	return sqlite.Open(ctx, sqlite.Settings{Path: path, Migrations: migrations, Disk: disk})
}
