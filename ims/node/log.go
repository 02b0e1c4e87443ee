package node

import (
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLog builds the logger that c describes. Lines go to c.File if set, else to
// stderr; lines below a warning reach a file within logDelay. Close the returned
// closer when the service has stopped.
func NewLog(c LogConfig, name string, stderr io.Writer) (*zap.Logger, io.Closer, error) {
	level := zapcore.InfoLevel
	if c.Level != "" {
		l, err := zapcore.ParseLevel(c.Level)
		if err != nil || l > zapcore.ErrorLevel {
			return nil, nil, fmt.Errorf("log.level is %q: it must be debug, info, warn or error", c.Level)
		}
		level = l
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	enc.TimeKey = "time"
	var encoder zapcore.Encoder
	switch c.Format {
	case "", "console":
		encoder = newConsole()
	case "json":
		encoder = zapcore.NewJSONEncoder(enc)
	default:
		return nil, nil, fmt.Errorf("log.format is %q: it must be console or json", c.Format)
	}
	if c.File == "" {
		return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(stderr)), level)).Named(name), nopCloser{}, nil
	}
	f, err := os.OpenFile(c.File, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the log file: %w", err)
	}
	out := &bufferedFile{f: f}
	core := &fileCore{zapcore.NewCore(encoder, out, level), out}
	out.tell = func(lines, all uint64, why error) { // whatever the level
		_ = core.Write(zapcore.Entry{
			Level: zapcore.WarnLevel, Time: time.Now(), LoggerName: name,
			Message: "log lines are missing here: the file could not be written, and can be again",
		}, []zapcore.Field{zap.Uint64("lines", lines), zap.Uint64("lines_in_all", all), zap.Error(why)})
	}
	return zap.New(core).Named(name), out, nil
}

type nopCloser struct{}

func (nopCloser) Close() error { return nil }
