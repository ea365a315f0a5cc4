package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

// sizes of a terminal, one after another.
type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, more := <-s
	if !more {
		return nil
	}
	return &size
}

// executes programs over SPDY and WebSocket: streams, exit codes, terminals, much data, and what is broken off.
func executes(ctx context.Context, c *Clients) error {
	if _, err := c.Typed.CoreV1().Pods(c.Namespace).Create(ctx, pod("shell", "sleep", "600"), metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := ready(ctx, c, "shell"); err != nil {
		return err
	}
	makers := map[string]func(string) (remotecommand.Executor, error){
		"SPDY": func(options string) (remotecommand.Executor, error) {
			request := c.Typed.CoreV1().RESTClient().Post().Namespace(c.Namespace).Resource("pods").Name("shell").SubResource("exec")
			request.VersionedParams(parse(options), scheme.ParameterCodec)
			return remotecommand.NewSPDYExecutor(c.Config, "POST", request.URL())
		},
		"WebSocket": func(options string) (remotecommand.Executor, error) {
			request := c.Typed.CoreV1().RESTClient().Get().Namespace(c.Namespace).Resource("pods").Name("shell").SubResource("exec")
			request.VersionedParams(parse(options), scheme.ParameterCodec)
			return remotecommand.NewWebSocketExecutor(c.Config, "GET", request.URL().String())
		},
	}
	for protocol, maker := range makers {
		if err := execute(ctx, maker); err != nil {
			return fmt.Errorf("%s: %w", protocol, err)
		}
	}
	return nil
}

// parse reads "ioet: script": which of stdin, stdout, stderr and a terminal there is.
func parse(text string) *corev1.PodExecOptions {
	flags, script, _ := strings.Cut(text, ": ")
	has := func(flag string) bool { return strings.Contains(flags, flag) }
	return &corev1.PodExecOptions{
		Container: "c", Command: []string{"sh", "-c", script}, Stdin: has("i"), Stdout: has("o"), Stderr: has("e"), TTY: has("t"),
	}
}

func execute(ctx context.Context, maker func(string) (remotecommand.Executor, error)) error {
	var out, errs bytes.Buffer
	executor, err := maker("ioe: cat; echo oops >&2; exit 7")
	if err != nil {
		return err
	}
	much := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: bytes.NewReader(much), Stdout: &out, Stderr: &errs})
	var code exec.CodeExitError
	if !errors.As(err, &code) || code.Code != 7 {
		return fmt.Errorf("exit code: %v", err)
	}
	if !bytes.Equal(out.Bytes(), much) || errs.String() != "oops\n" {
		return fmt.Errorf("%d of %d bytes came back, and %q", out.Len(), len(much), errs.String())
	}
	if executor, err = maker("iot: read line; stty size; echo got $line"); err != nil {
		return err
	}
	terminal := make(sizes, 1)
	terminal <- remotecommand.TerminalSize{Width: 101, Height: 33}
	in, typed := io.Pipe()
	go func() { time.Sleep(300 * time.Millisecond); fmt.Fprintln(typed, "word") }()
	var screen bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: &screen, Tty: true, TerminalSizeQueue: terminal})
	close(terminal)
	if err != nil || !strings.Contains(screen.String(), "33 101") || !strings.Contains(screen.String(), "got word") {
		return fmt.Errorf("terminal: %q: %w", screen.String(), err)
	}
	if executor, err = maker("o: sleep 600"); err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err = executor.StreamWithContext(short, remotecommand.StreamOptions{Stdout: io.Discard})
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("broken off: %v", err)
	}
	if executor, err = maker("o: true"); err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: io.Discard})
}

const server = `import http.server as h
class H(h.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "5"); self.end_headers(); self.wfile.write(b"hello")
h.ThreadingHTTPServer(("", 8080), H).serve_forever()`

// forwards a port over SPDY and over SPDY in a WebSocket.
func forwards(ctx context.Context, c *Clients) error {
	serving := pod("web", "python3", "-c", server)
	serving.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		Exec: &corev1.ExecAction{Command: []string{"python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 8080))"}},
	}}
	if _, err := c.Typed.CoreV1().Pods(c.Namespace).Create(ctx, serving, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := ready(ctx, c, "web"); err != nil {
		return err
	}
	url := c.Typed.CoreV1().RESTClient().Post().Namespace(c.Namespace).Resource("pods").Name("web").SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.Config)
	if err != nil {
		return err
	}
	overSPDY := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", url)
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialer(url, c.Config)
	if err != nil {
		return err
	}
	for _, forward := range []func(stop, ready chan struct{}) (*portforward.PortForwarder, error){
		func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
			return portforward.New(overSPDY, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		},
		func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
			return portforward.New(overWebSocket, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		},
	} {
		if err := ask(ctx, forward); err != nil {
			return err
		}
	}
	return nil
}

func ask(ctx context.Context, forward func(stop, ready chan struct{}) (*portforward.PortForwarder, error)) error {
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := forward(stop, ready)
	if err != nil {
		return err
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	defer close(stop)
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("ended: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0].Local))
	for range 20 {
		answer, err := client.Get("http://" + address)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || string(body) != "hello" {
			return fmt.Errorf("%q: %w", body, err)
		}
	}
	return nil
}

// followsLogs reads a log while it is written, until the container ends.
func followsLogs(ctx context.Context, c *Clients) error {
	pods := c.Typed.CoreV1().Pods(c.Namespace)
	talks := pod("talks", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.3; done")
	talks.Spec.RestartPolicy = corev1.RestartPolicyNever
	if _, err := pods.Create(ctx, talks, metav1.CreateOptions{}); err != nil {
		return err
	}
	var text []byte
	err := until(ctx, "there is a log", func(ctx context.Context) (bool, error) {
		stream, err := pods.GetLogs("talks", &corev1.PodLogOptions{Follow: true, Timestamps: true}).Stream(ctx)
		if err != nil {
			return false, nil
		}
		defer stream.Close()
		text, err = io.ReadAll(stream)
		return len(text) > 0, err // the log of a pod that has no node yet is empty, and ends
	})
	if err == nil && strings.Count(string(text), "line") != 3 {
		err = fmt.Errorf("%q", text)
	}
	return err
}
