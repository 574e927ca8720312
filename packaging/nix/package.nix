# pam-onetime for Nix: `pkgs.callPackage ./package.nix { }`.
{
  lib,
  rustPlatform,
  installShellFiles,
  linux-pam,
}:

rustPlatform.buildRustPackage {
  pname = "pam-onetime";
  version = "0.1.0";

  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;

  nativeBuildInputs = [ installShellFiles ];
  buildInputs = [ linux-pam ];

  # Two builds with different features and flags, as the Makefile has them.
  buildPhase = ''
    runHook preBuild
    make module tool
    runHook postBuild
  '';

  # The tests need root and name spaces: they are run by the project.
  doCheck = false;

  # What is in /etc is written by the NixOS module.
  installPhase = ''
    runHook preInstall
    install -D -m 644 target/module/libpam_onetime.so $out/lib/security/pam_onetime.so
    install -D -m 755 target/release/onetimectl $out/bin/onetimectl
    install -D -m 755 target/release/onetimed $out/bin/onetimed
    install -D -m 755 target/release/onetime $out/bin/onetime
    install -D -m 644 -t $out/lib/systemd/system packaging/systemd/onetimed.socket packaging/systemd/onetimed.service
    substituteInPlace $out/lib/systemd/system/onetimed.service --replace-fail /usr/sbin/ $out/bin/
    installManPage docs/onetime.1 docs/onetime.toml.5 docs/onetimectl.8 docs/onetimed.8 docs/pam_onetime.8
    for words in "onetimectl completions" "onetimed --completions" "onetime completions"; do
      installShellCompletion --cmd ''${words%% *} \
        --bash <($out/bin/$words bash) \
        --fish <($out/bin/$words fish) \
        --zsh <($out/bin/$words zsh)
    done
    runHook postInstall
  '';

  meta = {
    description = "One-time codes for logins that an administrator switches on and users enroll in by logging in";
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    platforms = lib.platforms.linux;
    mainProgram = "onetimectl";
  };
}
