package rest

import (
	"archive/zip"
	"bytes"
	"net/http/httptest"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// An archive one file of which fails does not pass for a whole one.
func TestArchiveThatIsCut(t *testing.T) {
	t.Parallel()
	sources, err := ExportSources()
	if err != nil {
		t.Fatal(err)
	}
	whole := exportFile{ExportSource: sources["daus"], answer: (&insightsv1.GetDeploymentDAUsResponse{
		Entries: []*insightsv1.DAUEntry{{Date: "2026-11-28", Amount: 1}},
	}).ProtoReflect()}
	broken := whole
	broken.Columns = []Column{{Name: "unknown", Kind: protoreflect.BytesKind}} // of no type in Parquet
	for name, files := range map[string][]exportFile{"whole": {whole}, "cut": {whole, broken}} {
		w := httptest.NewRecorder()
		err := writeArchive(w, files, "parquet")
		_, unread := zip.NewReader(bytes.NewReader(w.Body.Bytes()), int64(w.Body.Len()))
		if cut := name == "cut"; cut != (err != nil) || cut != (unread != nil) {
			t.Errorf("%s: written %v, read %v", name, err, unread)
		}
	}
}
