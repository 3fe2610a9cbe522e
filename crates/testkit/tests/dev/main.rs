//! `./dev setup` on machines that lack what only some tests use. All programs that it could install with are substitutes.

#![cfg(test)]

mod setup {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::Path,
        process::Command,
    };

    use tempfile::TempDir;

    /// A machine with Rust, a C compiler and PostgreSQL, an ordinary user, and no PgBouncer, openssl or Redis.
    struct Machine {
        folder: TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let machine = Self { folder: tempfile::tempdir().unwrap() };
            let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            for file in ["dev", "Cargo.toml", "rust-toolchain.toml"] {
                fs::copy(checkout.join(file), machine.folder.path().join(file)).unwrap();
            }
            fs::create_dir(machine.folder.path().join("bin")).unwrap();
            for program in ["sh", "dirname", "sed", "tr", "grep"] {
                let found = testkit::find_program(program).unwrap();
                symlink(found, machine.program(program)).unwrap();
            }
            machine.add("id", "echo 1000");
            machine.add("cc", "");
            machine.add("cargo", "");
            machine.add("rustc", "echo rustc 99.0.0");
            machine.add("postgres", "echo 'postgres (PostgreSQL) 17.1'");
            machine.add("initdb", "");
            machine
        }

        fn program(&self, name: &str) -> std::path::PathBuf {
            self.folder.path().join("bin").join(name)
        }

        fn add(&self, name: &str, text: &str) {
            fs::write(self.program(name), format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(self.program(name), fs::Permissions::from_mode(0o755)).unwrap();
        }

        /// Result and output of `./dev setup`.
        fn setup(&self) -> (bool, String) {
            let run = Command::new("/bin/sh")
                .args(["dev", "setup"])
                .current_dir(self.folder.path())
                .env_clear()
                .env("HOME", self.folder.path())
                .env("PATH", self.folder.path().join("bin"))
                .env("PG_BIN_DIR", self.folder.path().join("bin"))
                .env("PGBOUNCER", self.program("pgbouncer"))
                .output()
                .unwrap();
            (run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned())
        }
    }

    #[test]
    fn an_ordinary_user_without_sudo_goes_on_without_what_only_tests_use() {
        let machine = Machine::new();
        for has_manager in [false, true] {
            if has_manager {
                machine.add("apt-get", "echo apt-get must not be called >&2; exit 1");
            }
            let (is_success, said) = machine.setup();
            assert!(is_success && !said.contains("must not be called"), "{said}");
            for program in ["pgbouncer", "openssl", "redis"] {
                assert!(said.contains(&format!("going on without {program}")), "{said}");
            }
        }
    }

    #[test]
    fn a_failed_installation_of_what_only_tests_use_is_no_failure() {
        let machine = Machine::new();
        machine.add("zypper", "exit 4");
        machine.add("sudo", "\"$@\"");
        let (is_success, said) = machine.setup();
        assert!(is_success, "{said}");
        assert!(said.contains("going on without openssl (it could not be installed)"), "{said}");
    }

    #[test]
    fn what_only_tests_use_is_installed_where_that_is_possible() {
        let machine = Machine::new();
        let bin = machine.folder.path().join("bin");
        // zypper --non-interactive install NAME; the program of one package has another name.
        let text = "program=$3; [ $3 != redis ] || program=redis-server; echo > BIN/$program; /bin/chmod 755 BIN/$program";
        let text = text.replace("BIN", &bin.to_string_lossy());
        machine.add("zypper", &text);
        machine.add("sudo", "\"$@\"");
        let (is_success, said) = machine.setup();
        assert!(is_success && !said.contains("going on without"), "{said}");
        assert_eq!(machine.setup(), (true, String::new()), "nothing is missing any more");
    }

    #[test]
    fn without_a_compiler_and_a_way_to_install_one_setup_fails() {
        let machine = Machine::new();
        fs::remove_file(machine.program("cc")).unwrap();
        let (is_success, said) = machine.setup();
        assert!(!is_success && said.contains("please install a C compiler"), "{said}");
    }
}
