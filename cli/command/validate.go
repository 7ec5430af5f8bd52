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
	"github.com/baliza-lb/baliza/cli/text"
)

func (o *options) validate() *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use: "validate -f FILE", Short: "What is wrong with objects in files, without a cluster", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if len(names) == 0 {
				return errors.New("name a file or a folder: -f FILE")
			}
			set, err := o.readManifests(names)
			if err != nil {
				return err
			}
			findings := set.Check()
			err = o.show(findings, func(p *text.Printer) { p.Findings(findings, set.Objects()) })
			return outcome(explain.Verdict{Well: len(findings) == 0}, err)
		},
	}
	cmd.Flags().StringSliceVarP(&names, "filename", "f", nil, "file or folder with YAML or JSON, - for standard input; any number")
	return cmd
}

// readManifests reads what each name stands for.
func (o *options) readManifests(names []string) (*manifests.Set, error) {
	var set manifests.Set
	for _, name := range names {
		if err := o.readInto(&set, name); err != nil {
			return nil, err
		}
	}
	return &set, nil
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
