fn main() -> std::process::ExitCode {
    fanfare::cli::main()
}
