// The OTLP receiver of OpenTelemetry's collector, with a pipeline that writes what arrives.
//
// It takes the receiver's settings as JSON, says "ready" once it listens, and then writes one line of OTLP's JSON for
// each batch of spans. After SIGUSR1 it refuses batches as a collector does that is short of memory, until the next
// SIGUSR1; "refusing" and "taking" say so, and "refused" that it did.
//
// A whole collector has these parts, and others that take twice as long to build and see nothing of the sender.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, settings string) error {
	given := map[string]any{}
	if err := json.Unmarshal([]byte(settings), &given); err != nil {
		return err
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(given).Unmarshal(config); err != nil {
		return err
	}

	var refusing atomic.Bool
	var marshaler ptrace.JSONMarshaler
	pipeline, err := consumer.NewTraces(func(_ context.Context, spans ptrace.Traces) error {
		if refusing.Load() {
			fmt.Println("refused")
			return errors.New("data refused due to high memory usage")
		}
		line, err := marshaler.MarshalTraces(spans)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(append(line, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	of := receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
	}
	running, err := factory.CreateTraces(ctx, of, config, pipeline)
	if err != nil {
		return err
	}
	if err := running.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	fmt.Println("ready")
	for each := range signals {
		if each == syscall.SIGTERM {
			break
		}
		if refusing.Store(!refusing.Load()); refusing.Load() {
			fmt.Println("refusing")
		} else {
			fmt.Println("taking")
		}
	}
	return running.Shutdown(ctx)
}
