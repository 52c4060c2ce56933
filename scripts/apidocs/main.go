// Command apidocs writes the reference of the API, docs/api.md, from what buf builds of the contract: the comments of services,
// messages and fields, the access rules and the REST routes. It reads the descriptors from standard input.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/template-insights/insights/scripts/routes"
)

func main() {
	file := flag.String("routes", "", "the file with the REST routes")
	flag.Parse()
	table, err := routes.Read(*file)
	if err == nil {
		err = generate(os.Stdout, os.Stdin, table)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "apidocs:", err)
		os.Exit(1)
	}
}

// contract is the package that is described.
const contract = "insights.v1"

const head = `<!-- Made by make generate from api/. DO NOT EDIT. -->
# API

Every RPC with who may call it, its REST route and its messages. Over REST names and values are the same: times are RFC 3339,
durations seconds such as ` + "`\"30s\"`" + `, whole numbers JSON numbers, lists in a query separated by commas; ` +
	"`/openapi.json`" + ` (2.0) and ` + "`/openapi-3.1.json`" + ` of a server describe
it for programs. Over both the token comes as ` + "`Authorization: Bearer`" + `; REST also takes ` + "`Coder-Session-Token`" + ` and ` +
	"`Session-Token`" + `.
`

// reference writes the document.
type reference struct {
	out    strings.Builder
	routes map[string]routes.Route
	known  *protoregistry.Types // the options of the contract
}

func generate(out io.Writer, image io.Reader, table map[string]routes.Route) error {
	text, err := io.ReadAll(image)
	if err != nil {
		return fmt.Errorf("read descriptors: %w", err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(text, &set); err != nil {
		return fmt.Errorf("read descriptors: %w", err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return fmt.Errorf("read descriptors: %w", err)
	}
	r := &reference{routes: table, known: &protoregistry.Types{}}
	r.out.WriteString(head)
	var sections []protoreflect.FileDescriptor
	files.RangeFilesByPackage(contract, func(f protoreflect.FileDescriptor) bool {
		sections = append(sections, f)
		for i := range f.Extensions().Len() {
			err = errors.Join(err, r.known.RegisterExtension(dynamicpb.NewExtensionType(f.Extensions().Get(i))))
		}
		return true
	})
	if err != nil {
		return err
	}
	slices.SortFunc(sections, func(a, b protoreflect.FileDescriptor) int { // those with services first
		return cmp.Or(cmp.Compare(min(b.Services().Len(), 1), min(a.Services().Len(), 1)), cmp.Compare(a.Path(), b.Path()))
	})
	for _, f := range sections {
		if err := r.file(f); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, r.out.String())
	return err
}

// file writes the services of a file, then its messages and enums.
func (r *reference) file(f protoreflect.FileDescriptor) error {
	for i := range f.Services().Len() {
		s := f.Services().Get(i)
		r.print("\n## %s\n\n%s\n", s.Name(), comment(s))
		for j := range s.Methods().Len() {
			if err := r.method(s.Methods().Get(j)); err != nil {
				return err
			}
		}
	}
	if f.Services().Len() == 0 {
		r.print("\n## Other messages: %s\n", strings.TrimSuffix(path.Base(f.Path()), ".proto"))
	}
	for i := range f.Messages().Len() {
		r.message(f.Messages().Get(i))
	}
	for i := range f.Enums().Len() {
		e := f.Enums().Get(i)
		r.print("\n### %s\n\n%s\n\n| Value | Meaning |\n| - | - |\n", e.Name(), comment(e))
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			r.print("| `%s` | %s |\n", v.Name(), cell(v))
		}
	}
	return nil
}

func (r *reference) method(m protoreflect.MethodDescriptor) error {
	who, err := r.access(m)
	if err != nil {
		return err
	}
	r.print("\n### %s\n\n%s\n\n", m.Name(), comment(m))
	if route, ok := r.routes[string(m.FullName())]; ok {
		verb, path := route.Verb()
		r.print("- REST: `%s %s`\n", verb, path)
	}
	arrow := map[bool]string{true: "a stream of "}
	r.print(
		"- Takes %s%s, answers %s%s\n- %s\n", arrow[m.IsStreamingClient()], link(m.Input()), arrow[m.IsStreamingServer()], link(m.Output()),
		who,
	)
	return nil
}

// access says who may call an RPC.
func (r *reference) access(m protoreflect.MethodDescriptor) (string, error) {
	raw, err := proto.Marshal(m.Options())
	if err != nil {
		return "", err
	}
	options := &descriptorpb.MethodOptions{}
	if err := (proto.UnmarshalOptions{Resolver: r.known}).Unmarshal(raw, options); err != nil {
		return "", err
	}
	option, err := r.known.FindExtensionByName(contract + ".access")
	if err != nil {
		return "", err
	}
	rule, ok := proto.GetExtension(options, option).(proto.Message)
	if !ok || !rule.ProtoReflect().IsValid() {
		return "", fmt.Errorf("%s has no access rule", m.FullName())
	}
	field := func(name protoreflect.Name) protoreflect.Value {
		return rule.ProtoReflect().Get(rule.ProtoReflect().Descriptor().Fields().ByName(name))
	}
	permissions := rule.ProtoReflect().Descriptor().Fields().ByName("permission").Enum().Values()
	permission := strings.ToLower(strings.TrimPrefix(string(permissions.ByNumber(field("permission").Enum()).Name()), "PERMISSION_"))
	if permission == "authenticated" {
		return "For everyone with a valid token", nil
	}
	who := "Needs `" + permission + "`"
	if scope := field("scope_field").String(); scope != "" {
		who += " for what `" + scope + "` names"
	}
	if field("confine").Bool() {
		who += "; confined to where the caller holds it"
	}
	if field("audit").Bool() {
		who += "; written to the audit trail"
	}
	return who, nil
}

// message writes the fields of a message, and the messages within it.
func (r *reference) message(m protoreflect.MessageDescriptor) {
	if m.IsMapEntry() {
		return
	}
	r.print("\n### %s\n\n%s\n", m.Name(), comment(m))
	if m.Fields().Len() > 0 {
		r.print("\n| Field | Type | Meaning |\n| - | - | - |\n")
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		r.print("| `%s` | %s | %s |\n", f.Name(), typeOf(f), cell(f))
	}
	for i := range m.Messages().Len() {
		r.message(m.Messages().Get(i))
	}
}

// typeOf is the type of a field, with a link if the reference has it.
func typeOf(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "map of " + f.MapKey().Kind().String() + " to " + typeOf(f.MapValue())
	}
	kind := f.Kind().String()
	switch {
	case f.Enum() != nil:
		kind = link(f.Enum())
	case f.Message() != nil:
		kind = link(f.Message())
	}
	if f.IsList() {
		kind = "list of " + kind
	}
	return kind
}

// link names a message or enum, and leads to it if the reference has it.
func link(d protoreflect.Descriptor) string {
	if d.ParentFile().Package() != contract {
		return string(d.Name())
	}
	return fmt.Sprintf("[%s](#%s)", d.Name(), strings.ToLower(string(d.Name())))
}

// comment is what the contract says above something.
func comment(d protoreflect.Descriptor) string {
	lines := strings.Split(strings.TrimSpace(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// cell is a comment in one line of a table.
func cell(d protoreflect.Descriptor) string {
	text := strings.ReplaceAll(comment(d), "\n- ", "<br>• ")
	return strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), "|", `\|`)
}

func (r *reference) print(format string, args ...any) { fmt.Fprintf(&r.out, format, args...) }
