"""What the launcher of the Dataflow flex template starts; docker/flex-template.Dockerfile says where it lies."""

import sys

from pipeline.cli.beam.flex_template import main

if __name__ == "__main__":
    sys.exit(main())
