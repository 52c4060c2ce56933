package admin

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// Limits of the items of a catalog.
const (
	maxURLBytes   = 1 << 10
	maxProseBytes = 8 << 10
	maxParameters = 256 // of a version, and options of a parameter
)

func parseDeleted(id string, f fields) uuid.UUID { return f.id("id", id) }

func parseOrganization(m *insightsv1.Organization, f fields) store.Organization {
	return store.Organization{
		ID:          f.id("id", m.GetId()),
		Name:        f.name("name", m.GetName()),
		DisplayName: f.label("display_name", m.GetDisplayName(), m.GetName()),
	}
}

func parseTemplate(m *insightsv1.Template, f fields) store.Template {
	return store.Template{
		ID:             f.id("id", m.GetId()),
		OrganizationID: f.id("organization_id", m.GetOrganizationId()),
		Name:           f.name("name", m.GetName()),
		DisplayName:    f.label("display_name", m.GetDisplayName(), m.GetName()),
		Icon:           f.text("icon", m.GetIcon(), maxURLBytes),
		CreatedAt:      f.time("created_at", m.GetCreatedAt()),
		DeletedAt:      f.time("deleted_at", m.GetDeletedAt()),

		DefaultTTLSeconds:         f.seconds("default_ttl_seconds", m.GetDefaultTtlSeconds()),
		DormantAfterSeconds:       f.seconds("dormant_after_seconds", m.GetDormantAfterSeconds()),
		DeleteDormantAfterSeconds: f.seconds("delete_dormant_after_seconds", m.GetDeleteDormantAfterSeconds()),
	}
}

func parseVersion(m *insightsv1.TemplateVersion, f fields) store.TemplateVersion {
	v := store.TemplateVersion{
		ID:         f.id("id", m.GetId()),
		TemplateID: f.id("template_id", m.GetTemplateId()),
		Name:       f.name("name", m.GetName()),
		CreatedAt:  f.time("created_at", m.GetCreatedAt()),
	}
	f.count("parameters", len(m.GetParameters()), maxParameters)
	known := map[string]bool{}
	for i, p := range m.GetParameters() {
		in := f.within(fmt.Sprintf("parameters[%d].", i))
		if known[p.GetName()] {
			in.check("name", errors.New("another parameter has it"))
		}
		known[p.GetName()] = true
		v.Parameters = append(v.Parameters, parseParameter(p, in))
	}
	return v
}

func parseParameter(m *insightsv1.Parameter, f fields) store.Parameter {
	p := store.Parameter{
		Name:         f.name("name", m.GetName()),
		DisplayName:  f.label("display_name", m.GetDisplayName(), m.GetName()),
		Type:         f.oneOf("type", m.GetType(), "string", "number", "bool", "list(string)"),
		Description:  f.text("description", m.GetDescription(), maxProseBytes),
		DefaultValue: f.text("default_value", m.GetDefaultValue(), maxProseBytes),
		Sensitive:    m.GetSensitive(),
	}
	f.count("options", len(m.GetOptions()), maxParameters)
	for i, o := range m.GetOptions() {
		in := f.within(fmt.Sprintf("options[%d].", i))
		p.Options = append(p.Options, store.ParameterOption{
			Name:        in.name("name", o.GetName()),
			Description: in.text("description", o.GetDescription(), maxProseBytes),
			Value:       in.text("value", o.GetValue(), maxProseBytes),
			Icon:        in.text("icon", o.GetIcon(), maxURLBytes),
		})
	}
	return p
}

func parseUser(m *insightsv1.User, f fields) store.User {
	return store.User{
		ID:              f.id("id", m.GetId()),
		Username:        f.name("username", m.GetUsername()),
		AvatarURL:       f.text("avatar_url", m.GetAvatarUrl(), maxURLBytes),
		Kind:            f.oneOf("kind", cmp.Or(m.GetKind(), store.Human), store.UserKinds...),
		Status:          f.oneOf("status", cmp.Or(m.GetStatus(), store.UserStatuses[0]), store.UserStatuses...),
		OrganizationIDs: f.ids("organization_ids", m.GetOrganizationIds()),
		CreatedAt:       f.time("created_at", m.GetCreatedAt()),
		DeletedAt:       f.time("deleted_at", m.GetDeletedAt()),
	}
}

func parseGroup(m *insightsv1.Group, f fields) store.Group {
	g := store.Group{
		ID:             f.id("id", m.GetId()),
		OrganizationID: f.id("organization_id", m.GetOrganizationId()),
		Name:           f.name("name", m.GetName()),
		Everyone:       m.GetEveryone(),
		UserIDs:        f.ids("user_ids", m.GetUserIds()),
	}
	if len(m.GetUserIds()) > 0 && len(m.GetMembers()) > 0 {
		f.check("members", errors.New("must not be given together with user_ids"))
	}
	for i, member := range m.GetMembers() {
		g.Members = append(g.Members, parseMember(member, f.within(fmt.Sprintf("members[%d].", i))))
	}
	return g
}

func parseMember(m *insightsv1.GroupMember, f fields) store.GroupMember {
	member := store.GroupMember{
		UserID: f.id("user_id", m.GetUserId()),
		FromAt: f.time("from", m.GetFrom()),
		ToAt:   f.time("to", m.GetTo()),
	}
	if m.GetTo() != nil && m.GetTo().AsTime().UnixMicro() <= max(0, member.FromAt.UnixMicro()) { // as they are stored
		f.check("to", errors.New("must be after from"))
	}
	return member
}

func parseWorkspace(m *insightsv1.Workspace, f fields) store.Workspace {
	return store.Workspace{
		ID:         f.id("id", m.GetId()),
		OwnerID:    f.id("owner_id", m.GetOwnerId()),
		TemplateID: f.id("template_id", m.GetTemplateId()),
		Name:       f.name("name", m.GetName()),
		Purpose:    f.oneOf("purpose", cmp.Or(m.GetPurpose(), store.WorkspacePurposes[0]), store.WorkspacePurposes...),
		TTLSeconds: f.seconds("ttl_seconds", m.GetTtlSeconds()),
		CreatedAt:  f.time("created_at", m.GetCreatedAt()),
		DeletedAt:  f.time("deleted_at", m.GetDeletedAt()),
	}
}

func parseAgent(m *insightsv1.Agent, f fields) store.Agent {
	return store.Agent{
		ID:          f.id("id", m.GetId()),
		WorkspaceID: f.id("workspace_id", m.GetWorkspaceId()),
		Name:        f.name("name", m.GetName()),
		CreatedAt:   f.time("created_at", m.GetCreatedAt()),
	}
}

func parseApp(m *insightsv1.App, f fields) store.App {
	return store.App{
		AgentID:     f.id("agent_id", m.GetAgentId()),
		Slug:        f.name("slug", m.GetSlug()),
		DisplayName: f.label("display_name", m.GetDisplayName(), m.GetSlug()),
		Icon:        f.text("icon", m.GetIcon(), maxURLBytes),
	}
}

// fields reads the fields of an item of the catalog. It keeps the first fault, so that an item is read without looking
// at each field and judged once.
type fields struct {
	fault  *string
	prefix string // where the fields are within the item
}

func (f fields) within(prefix string) fields { return fields{f.fault, f.prefix + prefix} }

func (f fields) check(name string, err error) {
	if err != nil && *f.fault == "" {
		*f.fault = f.prefix + name + ": " + err.Error()
	}
}

func (f fields) id(name, value string) uuid.UUID {
	id, err := call.ParseID(value)
	f.check(name, err)
	return id
}

func (f fields) ids(name string, values []string) []uuid.UUID {
	ids := make([]uuid.UUID, len(values))
	for i, value := range values {
		ids[i] = f.id(fmt.Sprintf("%s[%d]", name, i), value)
	}
	return ids
}

// name reads a short text that must be there.
func (f fields) name(name, value string) string {
	if value == "" {
		f.check(name, errors.New("is required"))
	}
	f.check(name, call.CheckText(value))
	return value
}

// label reads what people see; without one they see the name.
func (f fields) label(name, value, otherwise string) string {
	f.check(name, call.CheckText(value))
	return cmp.Or(value, otherwise)
}

// text reads a longer text, which may have several lines.
func (f fields) text(name, value string, most int) string {
	if len(value) > most {
		f.check(name, fmt.Errorf("%d bytes, at most %d", len(value), most))
	}
	if strings.ContainsRune(value, 0) { // Postgres keeps no such text
		f.check(name, errors.New("the character U+0000 is not allowed"))
	}
	return value
}

func (f fields) oneOf(name, value string, allowed ...string) string {
	if !slices.Contains(allowed, value) {
		f.check(name, fmt.Errorf("must be one of %v", allowed))
	}
	return value
}

// time reads a time that need not be there: the first moment of the year 1 is how answers and Coder say that they do not know it.
func (f fields) time(name string, value *timestamppb.Timestamp) store.Instant {
	if value == nil || value.AsTime().IsZero() {
		return store.Instant{}
	}
	t, err := call.ParseTime(value)
	f.check(name, err)
	return store.At(t)
}

// seconds reads a length of time that need not be there.
func (f fields) seconds(name string, value int64) int64 {
	if value < 0 {
		f.check(name, errors.New("must not be negative"))
	}
	return value
}

func (f fields) count(name string, n, most int) {
	if n > most {
		f.check(name, fmt.Errorf("%d entries, at most %d", n, most))
	}
}
