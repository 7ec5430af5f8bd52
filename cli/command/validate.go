package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/manifests"
	"github.com/baliza-lb/baliza/cli/schema"
	"github.com/baliza-lb/baliza/cli/text"
	"github.com/baliza-lb/baliza/deploy"
)

func (o *options) validate() *cobra.Command {
	var names []string
	theirs := false
	cmd := &cobra.Command{
		Use: "validate -f FILE", Short: "What is wrong with objects in files, without a cluster", Args: cobra.NoArgs,
		Example: "  kubectl baliza validate -f manifests/\n  kubectl kustomize clusters/prod | kubectl baliza validate --metallb -f -",
		RunE: func(*cobra.Command, []string) error {
			if len(names) == 0 {
				return errors.New("name a file or a folder: -f FILE")
			}
			set, err := judged()
			if err != nil {
				return err
			}
			if err := o.readAll(set, names); err != nil {
				return err
			}
			if theirs {
				err = set.TakeMetalLB()
			} else if !set.MetalLB().Empty() {
				fmt.Fprintln(o.env.Err, "objects of MetalLB are not looked at: --metallb says what they mean to Baliza")
			}
			if err != nil {
				return err
			}
			findings := set.Check()
			err = o.show(findings, func(p *text.Printer) { p.Findings(findings, set.Objects()) })
			return outcome(explain.Verdict{Well: len(findings) == 0}, err)
		},
	}
	cmd.Flags().StringSliceVarP(&names, "filename", "f", nil, "file or folder with YAML or JSON, - for standard input; any number")
	cmd.Flags().BoolVar(&theirs, "metallb", false, "judge MetalLB's objects, too, by what Baliza would make of them")
	return cmd
}

// judged is a Set that knows the schemas of this version.
func judged() (*manifests.Set, error) {
	documents, err := deploy.CRDs()
	if err != nil {
		return nil, err
	}
	schemas, err := schema.New(documents)
	if err != nil {
		return nil, err
	}
	return manifests.New(schemas), nil
}

// readManifests reads what each name stands for.
func (o *options) readManifests(names []string) (*manifests.Set, error) {
	set := &manifests.Set{}
	return set, o.readAll(set, names)
}

func (o *options) readAll(set *manifests.Set, names []string) error {
	for _, name := range names {
		if err := o.readInto(set, name); err != nil {
			return err
		}
	}
	return nil
}

// readInto reads a file, the files of a folder and those below, or standard input.
func (o *options) readInto(set *manifests.Set, name string) error {
	if name == "-" {
		data, err := io.ReadAll(o.env.In)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		set.Read("-", data)
		return nil
	}
	files, err := manifestsIn(name)
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		set.Read(file, data)
	}
	return nil
}

// manifestsIn are the file of that name, or those in the folder and below, in order.
func manifestsIn(name string) (files []string, err error) {
	err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		meant := path == name || slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path))
		if err == nil && !entry.IsDir() && meant {
			files = append(files, path)
		}
		return err
	})
	return files, err
}
