#!/usr/bin/env node
/** The `tviews` program: the commands of src/cli, and the two that need the proxy. */
import { buildProgram, runProgram } from '../src/cli/program.ts';
import { addProxy } from './command.ts';
import { addDemo } from './demo.ts';

const program = buildProgram();
addProxy(program);
addDemo(program);
await runProgram(program, process.argv.slice(2));
