package main

import (
	"github.com/spf13/cobra"

	"combotto.io/gateway/server/gateway"
)

func (a *application) queueCompactCommand() *cobra.Command {
	dir := ""
	command := &cobra.Command{
		Use:   "compact [FILE]",
		Short: "Give back the room that a queue does not use any more",
		Long: `Rewrite a queue into a file that takes only what is used. The gateway never makes its file shorter by itself: room that is free
in it is used again. It needs as much room beside the file as is used in it, and says so when there is less; gatewayctl queue
verify shows both. The file is verified before and after. A kill at any moment leaves the old file or the new one.`,
		Example: "  gatewayctl queue compact --data-dir /var/lib/gateway",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			return offline(fileOr(arguments, dir), hintInUse, func(files *gateway.Offline) error {
				done, err := files.CompactQueue(command.Context())
				a.showMoved(done.Moved)
				if err != nil {
					return err
				}
				if a.output == "json" {
					return a.printValue(done)
				}
				a.print("%s takes %s now, and took %s\n", files.Path(), size(uint64(done.After)), size(uint64(done.Before)))
				return nil
			})
		},
	}
	dataDirFlag(command, &dir)
	return command
}
