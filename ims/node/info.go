package node

import (
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// maxFields is how many fields a pooled list has room for.
const maxFields = 12

// fieldLists are lists of fields, which go through interfaces and so are on the heap. Each
// is nearly 400 octets, several for each registration.
var fieldLists = sync.Pool{New: func() any { return new([maxFields]zap.Field) }}

// Info is log.Info for lines that come with each request: the caller's list of fields
// stays on his stack.
func Info(log *zap.Logger, text string, fields ...zap.Field) {
	line := log.Check(zapcore.InfoLevel, text)
	if line == nil {
		return
	}
	list := fieldLists.Get().(*[maxFields]zap.Field)
	defer fieldLists.Put(list)
	n := copy(list[:], fields)
	if n < len(fields) { // a new list, which the pool does not get
		line.Write(append(list[:n:n], fields[n:]...)...)
	} else {
		line.Write(list[:n]...)
	}
	clear(list[:n]) // they hold on to a message
}
