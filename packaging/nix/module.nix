# pam-onetime for NixOS. In configuration.nix:
#
#     imports = [ ./pam-onetime/packaging/nix/module.nix ];
#     security.pam.onetime = {
#       enable = true;
#       settings.issuer = "login.example.org";
#       settings.login.require_groups = [ "wheel" ];
#     };
#     security.pam.services.sshd.onetimeAuth = true;
#     security.pam.services.sudo.onetimeAuth = true;
#     services.openssh.settings = {
#       KbdInteractiveAuthentication = true;
#       PasswordAuthentication = false;
#     };
#
# It uses security.pam.services.<name>.rules, which nixpkgs calls experimental: after an
# update of nixpkgs, look at /etc/pam.d and run `onetimectl doctor` before you log out.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.security.pam.onetime;
  toml = pkgs.formats.toml { };
  module = "${cfg.package}/lib/security/pam_onetime.so";

  # The module checks the password itself, by the service onetime-password, and comes right
  # before the first module that would. A refusal is final, and after a right code nothing
  # is asked that could let somebody else in.
  service =
    { config, ... }:
    {
      options.onetimeAuth = lib.mkOption {
        type = lib.types.bool;
        default = false;
        description = "Whether a one-time code is asked for, after the password, of users for whom an administrator has enabled it.";
      };
      config = lib.mkIf config.onetimeAuth {
        rules.auth.onetime = {
          order =
            let
              names = [
                "systemd_home-early"
                "unix-early"
                "systemd_home"
                "unix"
                "ldap"
                "kanidm"
                "sss"
                "krb5"
              ];
              orders = lib.concatMap (
                name: lib.optional (config.rules.auth ? ${name}) config.rules.auth.${name}.order
              ) names;
            in
            (lib.foldl' lib.min (lib.head orders) orders) - 10;
          control = "[success=done new_authtok_reqd=done default=die]";
          modulePath = module;
        };
        rules.account.onetime = {
          order = config.rules.account.unix.order - 10;
          control = "required";
          modulePath = module;
        };
      };
    };
in
{
  options.security.pam.services = lib.mkOption {
    type = lib.types.attrsOf (lib.types.submodule service);
  };

  options.security.pam.onetime = {
    enable = lib.mkEnableOption "the store, the configuration and the tool of pam-onetime";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package with the module and onetimectl.";
    };

    settings = lib.mkOption {
      inherit (toml) type;
      default = { };
      example = {
        issuer = "login.example.org";
        limits.failures = 5;
      };
      description = "What onetime.toml(5) says. It is checked when the system is built.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];

    # With a mode it is copied to /etc: pam_onetime refuses a link.
    environment.etc."onetime/onetime.toml" = {
      mode = "0644";
      source = pkgs.runCommand "onetime.toml" { } ''
        cp ${toml.generate "onetime.toml" cfg.settings} $out
        ${lib.getExe cfg.package} config check $out
      '';
    };

    # For programs that are not root's: the socket starts it.
    systemd.packages = [ cfg.package ];
    systemd.sockets.onetimed.wantedBy = [ "sockets.target" ];

    # How the password is verified: as NixOS does it elsewhere.
    security.pam.services.onetime-password = { };

    # The store. `init` is harmless to repeat.
    systemd.services.onetime-store = {
      description = "Make the store of pam-onetime";
      wantedBy = [ "multi-user.target" ];
      before = [ "sshd.service" ];
      unitConfig.RequiresMountsFor = "/var/lib/onetime";
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${lib.getExe cfg.package} init";
      };
    };
  };
}
