// Package server is the map of the gateway; it holds no code. Data moves in one
// direction, and the packages stand in its order:
//
//	        who                     durable                  due                 world
//	device --> broker (MQTT)       \                                          / sink/filesink
//	device --> rpc (HTTP, Connect)  > ingest --> queue [SQLite WAL] --> dispatch --> sink/httpsink
//	client --> rpc (gRPC)          /        \
//	                                 dead letters: a state of a delivery, inside queue
//
// A record crosses each arrow once and never comes back: ingest can only
// append, dispatch can only lease and settle, a sink makes one attempt. The
// words and the contracts between the packages are in package edge.
//
// Which package may import which is a table in architecture_test.go, and a test
// that fails on any other arrow. docs/architecture.md explains it.
package server
