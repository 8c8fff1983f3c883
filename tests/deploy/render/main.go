// Renders the templates of a Helm chart as Helm's engine does, with the standard library alone.
//
// Helm's templates are those of text/template, with additional functions. The functions that the chart uses are implemented here; a
// template that calls any other is refused, so a chart that passes is rendered by Helm in the same way.
//
// Standard input: a JSON object {"chart", "release", "base", "templates": {path: text}, "cases": [values, ...]}, in which the values of
// each case are merged with the defaults already. Standard output: a JSON array with {"files": {path: text}, "error": text} for each case.
//
// Sources of the functions: Helm's pkg/engine (include, toYaml, required, fail), sprig (all others).
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"reflect"
	"sort"
	"strings"
	"text/template"
)

type request struct {
	Chart     map[string]any
	Release   map[string]any
	Base      string
	Templates map[string]string
	Cases     []map[string]any
}

type answer struct {
	Files map[string]string `json:"files"`
	Error string            `json:"error"`
}

// empty reports whether `default` replaces the value: zero, "", an empty list or map.
func empty(given any) bool {
	value := reflect.ValueOf(given)
	if !value.IsValid() {
		return true
	}
	switch value.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return value.Len() == 0
	}
	return value.IsZero()
}

func scalar(value any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// lines returns a value's lines as a YAML block: maps with sorted keys, lists at the column of their key.
func lines(value any) []string {
	var out []string
	switch value := value.(type) {
	case map[string]any:
		if len(value) == 0 {
			return []string{"{}"}
		}
		keys := make([]string, 0, len(value))
		for key := range value {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			below, indent := lines(value[key]), ""
			switch inner := value[key].(type) {
			case map[string]any:
				indent = "  "
				if len(inner) == 0 {
					out = append(out, scalar(key)+": {}")
					continue
				}
			case []any:
				if len(inner) == 0 {
					out = append(out, scalar(key)+": []")
					continue
				}
			default:
				out = append(out, scalar(key)+": "+below[0])
				continue
			}
			out = append(out, scalar(key)+":")
			for _, line := range below {
				out = append(out, indent+line)
			}
		}
	case []any:
		if len(value) == 0 {
			return []string{"[]"}
		}
		for _, each := range value {
			for n, line := range lines(each) {
				if n == 0 {
					out = append(out, "- "+line)
				} else {
					out = append(out, "  "+line)
				}
			}
		}
	default:
		return []string{scalar(value)}
	}
	return out
}

func indent(columns int, text string) string {
	pad := strings.Repeat(" ", columns)
	return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
}

func whole(value any) (int, error) {
	switch value := value.(type) {
	case int:
		return value, nil
	case float64: // every number in values is a float64, as in Helm
		return int(value), nil
	}
	return 0, fmt.Errorf("%v is not a number", value)
}

func functions(all *template.Template) template.FuncMap {
	return template.FuncMap{
		"add": func(terms ...any) (int, error) {
			sum := 0
			for _, term := range terms {
				number, err := whole(term)
				if err != nil {
					return 0, err
				}
				sum += number
			}
			return sum, nil
		},
		"default": func(instead any, given ...any) any {
			if len(given) == 0 || empty(given[0]) {
				return instead
			}
			return given[0]
		},
		"fail": func(message string) (string, error) { return "", errors.New(message) },
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"indent":  indent,
		"int":     whole,
		"nindent": func(columns int, text string) string { return "\n" + indent(columns, text) },
		"quote": func(given ...any) string {
			var out []string
			for _, each := range given {
				if each != nil {
					out = append(out, fmt.Sprintf("%q", fmt.Sprint(each)))
				}
			}
			return strings.Join(out, " ")
		},
		"required": func(message string, given any) (any, error) {
			if given == nil || given == "" {
				return given, errors.New(message)
			}
			return given, nil
		},
		"sha256sum": func(text string) string {
			sum := sha256.Sum256([]byte(text))
			return hex.EncodeToString(sum[:])
		},
		"toYaml":     func(value any) string { return strings.Join(lines(value), "\n") },
		"trimSuffix": func(end, text string) string { return strings.TrimSuffix(text, end) },
		"trunc": func(length int, text string) string {
			if length < len(text) {
				return text[:length]
			}
			return text
		},
		"until": func(count int) []int {
			out := []int{}
			for n := 0; n < count; n++ {
				out = append(out, n)
			}
			return out
		},
	}
}

func render(asked request, values map[string]any) (map[string]string, error) {
	all := template.New("chart").Option("missingkey=zero")
	all.Funcs(functions(all))
	for name, text := range asked.Templates {
		if _, err := all.New(name).Parse(text); err != nil {
			return nil, err
		}
	}
	files := map[string]string{}
	for name := range asked.Templates {
		if strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		var out strings.Builder
		err := all.ExecuteTemplate(&out, name, map[string]any{
			"Chart": asked.Chart, "Release": asked.Release, "Values": values,
			"Template": map[string]any{"Name": name, "BasePath": asked.Base},
		})
		if err != nil {
			return nil, err
		}
		files[name] = strings.ReplaceAll(out.String(), "<no value>", "")
	}
	return files, nil
}

func main() {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(2)
	}
	answers := []answer{}
	for _, values := range asked.Cases {
		files, err := render(asked, values)
		told := answer{Files: files}
		if err != nil {
			told.Error = err.Error()
		}
		answers = append(answers, told)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}
