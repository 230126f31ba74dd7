// Renders a chart as Helm does: Go's templates with the functions of sprig, and include and toYaml as Helm defines them.
//
//	render CHART VALUES...
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

func main() {
	chart := os.Args[1]
	values := map[string]interface{}{}
	for _, f := range os.Args[2:] {
		data, err := os.ReadFile(f)
		check(err)
		over := map[string]interface{}{}
		check(yaml.Unmarshal(data, &over))
		merge(values, over)
	}
	meta := map[string]interface{}{}
	data, err := os.ReadFile(filepath.Join(chart, "Chart.yaml"))
	check(err)
	check(yaml.Unmarshal(data, &meta))
	names := map[string]interface{}{}
	for k, v := range meta {
		names[strings.ToUpper(k[:1])+k[1:]] = v
	}
	t := template.New("chart").Option("missingkey=error")
	funcs := sprig.TxtFuncMap()
	funcs["toYaml"] = func(v interface{}) string {
		out, err := yaml.Marshal(v)
		check(err)
		return strings.TrimSuffix(string(out), "\n")
	}
	funcs["include"] = func(name string, data interface{}) (string, error) {
		var b bytes.Buffer
		err := t.ExecuteTemplate(&b, name, data)
		return b.String(), err
	}
	t.Funcs(funcs)
	files, _ := filepath.Glob(filepath.Join(chart, "templates", "*"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		check(err)
		_, err = t.New(filepath.Base(f)).Parse(string(data))
		check(err)
	}
	top := map[string]interface{}{"Values": values, "Chart": names, "Release": map[string]interface{}{"Name": "logos", "Namespace": "default", "Service": "Helm"}}
	for _, f := range files {
		if strings.HasSuffix(f, ".tpl") {
			continue
		}
		var b bytes.Buffer
		check(t.ExecuteTemplate(&b, filepath.Base(f), top))
		fmt.Println("---")
		fmt.Print(b.String())
	}
}
func merge(a, b map[string]interface{}) {
	for k, v := range b {
		if m, ok := v.(map[string]interface{}); ok {
			if n, ok := a[k].(map[string]interface{}); ok {
				merge(n, m)
				continue
			}
		}
		a[k] = v
	}
}
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
